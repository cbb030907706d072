from __future__ import annotations

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from coto_lab.figures.shapley import shapley_figure, shapley_map_figure
from coto_lab.figures.style import STYLES
from coto_lab.probes.shapley import ShapleyValues

BLOCKS = tuple(f"vit.layers.{i}" for i in range(3))
MODULES = tuple(f"{block}.attention.{kind}_proj" for block in BLOCKS for kind in "qv")


def record(players: tuple[str, ...], *values: float, value: str = "accuracy") -> ShapleyValues:
    blocks = None if players == BLOCKS else tuple(player.partition(".attention")[0] for player in players)
    return ShapleyValues(players, torch.tensor(values, dtype=torch.float64), value, "exact", 0.4, 0.9, blocks=blocks)


LORA = record(BLOCKS, 0.2, 0.1, -0.05)
COTO = [record(BLOCKS, 0.1, 0.12, 0.08), record(BLOCKS, 0.12, 0.1, 0.1), record(BLOCKS, 0.14, 0.14, 0.06)]


def test_bars_are_percentage_points_and_means_over_seeds() -> None:
    lora, coto = shapley_figure({"LoRA": LORA, "CoTo": COTO}).data
    assert list(lora.x) == list(coto.x) == ["0", "1", "2"]
    np.testing.assert_allclose(lora.y, [20, 10, -5])
    np.testing.assert_allclose(coto.y, [12, 12, 8])
    assert lora.error_y.array is None
    np.testing.assert_allclose(coto.error_y.array, [2] * 3)  # sample deviation of three values that are 2 apart
    assert (lora.name, coto.name) == ("LoRA", "CoTo, 3 seeds")
    assert (lora.marker.color, coto.marker.color) == (STYLES["LoRA"]["color"], STYLES["CoTo"]["color"])


def test_two_seeds_have_no_error_bar_and_a_dot_each_on_their_bar() -> None:
    bar, dots = shapley_figure({"CoTo": COTO[:2]}).data
    assert bar.error_y.array is None
    np.testing.assert_allclose(bar.y, [11, 11, 9])
    assert list(dots.x) == ["0", "1", "2"] * 2 and dots.mode == "markers"
    np.testing.assert_allclose(dots.y, [10, 12, 8, 12, 10, 10])
    assert dots.offsetgroup == bar.offsetgroup
    assert "error" not in shapley_figure({"CoTo": COTO[:2]}).layout.yaxis.title.text


@pytest.mark.parametrize(("value", "factor", "unit"), [("accuracy", 100, "percentage points"), ("loss", 1, "nats")])
def test_axes_name_the_unit_and_what_the_error_bars_are(value: str, factor: float, unit: str) -> None:
    exact = record(BLOCKS, 0.2, 0.1, 0.0, value=value)
    estimate = replace(exact, method="sampling", standard_error=torch.tensor([0.01, 0.02, 0.03]))
    plain, one, both = (
        shapley_figure(records) for records in ({"a": exact}, {"a": estimate}, {"a": estimate, "b": [exact] * 3})
    )
    assert plain.layout.yaxis.title.text.endswith(unit) and plain.layout.xaxis.title.text == "block, from the input up"
    assert one.layout.yaxis.title.text.endswith(f"{unit}<br>error bars: standard error")
    assert both.layout.yaxis.title.text.endswith("<br>error bars: standard error<br>error bars: standard deviation over seeds")
    np.testing.assert_allclose(one.data[0].error_y.array, [0.01 * factor, 0.02 * factor, 0.03 * factor], rtol=1e-6)


def test_bars_of_modules_are_named_by_what_differs() -> None:
    figure = shapley_figure({"LoRA": record(MODULES, *range(6))})
    assert list(figure.data[0].x) == ["0 query", "0 value", "1 query", "1 value", "2 query", "2 value"]
    assert figure.layout.xaxis.title.text == "module"


def test_map_has_a_panel_per_method_and_one_scale() -> None:
    lora, coto = record(MODULES, 0.3, 0, 0.1, 0, -0.1, 0.05), record(MODULES, *[0.1] * 6)
    figure = shapley_map_figure({"LoRA": lora, "CoTo": [coto, record(MODULES, *[0.2] * 6)]})
    left, right = figure.data
    np.testing.assert_allclose(left.z, [[30, 0], [10, 0], [-10, 5]])
    np.testing.assert_allclose(right.z, [[15, 15]] * 3)
    for heat in (left, right):
        assert (list(heat.x), list(heat.y)) == (["query", "value"], ["0", "1", "2"])
        assert (heat.zmin, heat.zmax) == pytest.approx((-30, 30)) and heat.texttemplate == "%{z:.1f}"
    assert (left.showscale, right.showscale) == (False, True)
    assert "percentage points" in right.colorbar.title.text
    assert [annotation.text for annotation in figure.layout.annotations] == ["LoRA", "CoTo, mean of 2 seeds"]


def test_map_leaves_out_modules_that_a_block_has_not() -> None:
    figure = shapley_map_figure({"LoRA": record(MODULES[:-1], 0.3, 0, 0.1, 0, -0.1, value="loss")})
    assert figure.data[0].z[2][1] is None and figure.data[0].z[2][0] == pytest.approx(-0.1)
    assert figure.data[0].texttemplate == "%{z:.2f}"


@pytest.mark.parametrize("figure", [shapley_figure, shapley_map_figure])
@pytest.mark.parametrize("other", [record(MODULES, *range(6), value="loss"), record(MODULES[:3], *range(3))])
def test_records_of_two_games_are_refused(figure: object, other: ShapleyValues) -> None:
    with pytest.raises(ValueError, match="records must be of one game"):
        figure({"LoRA": record(MODULES, *range(6)), "CoTo": other})


def test_blocks_have_no_map() -> None:
    with pytest.raises(ValueError, match="Use players='module'"):
        shapley_map_figure({"LoRA": LORA})


def test_figures_are_plotly_figures_of_fixed_height() -> None:
    for figure in (shapley_figure({"LoRA": LORA}), shapley_map_figure({"LoRA": record(MODULES, *range(6))})):
        assert isinstance(figure, go.Figure) and figure.layout.height
