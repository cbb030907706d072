from __future__ import annotations

import pytest
import torch

from coto_lab.figures.sparsity import sparsity_figure
from coto_lab.figures.style import STYLES
from coto_lab.probes.sparsity import SparsityCurve


def curve(*accuracy: float, sparsity: tuple[float, ...] = (0, 0.5, 1)) -> SparsityCurve:
    values = torch.tensor(accuracy, dtype=torch.float64)
    return SparsityCurve(torch.tensor(sparsity, dtype=torch.float64), values, 1 - values)


SEEDS = [curve(0.9, 0.8, 0.5), curve(0.94, 0.6, 0.5), curve(0.92, 0.7, 0.5)]


def test_mean_and_band_over_seeds() -> None:
    band, line, base = sparsity_figure({"CoTo": SEEDS}).data
    assert list(line.x) == [0, 50, 100] and list(line.y) == pytest.approx([92, 70, 50])
    assert list(line.customdata) == pytest.approx([2, 10, 0])  # sample deviations of 90 94 92, of 80 60 70 and of 50 50 50
    assert list(band.x) == [0, 50, 100, 100, 50, 0]
    assert list(band.y) == pytest.approx([94, 80, 50, 50, 60, 90])
    assert line.name == "CoTo, 3 seeds" and band.legendgroup == line.legendgroup == "CoTo" and not band.showlegend
    assert set(base.y) == {50} and list(base.x) == [0, 100] and base.name == "all entries 0"


def test_one_curve_has_no_band() -> None:
    assert "band" in sparsity_figure({"LoRA": SEEDS}).layout.yaxis.title.text
    for value in (SEEDS[0], SEEDS[:1]):
        figure = sparsity_figure({"LoRA": value})
        line, base = figure.data
        assert "band" not in figure.layout.yaxis.title.text
        assert line.name == "LoRA" and list(line.y) == [90, 80, 50] and line.customdata is None
        assert set(base.y) == {50}


def test_no_base_line_where_sparsity_1_was_not_scored() -> None:
    (line,) = sparsity_figure({"LoRA": curve(0.9, 0.8, sparsity=(0, 0.5))}).data
    assert list(line.x) == [0, 50]


def test_methods_look_as_everywhere_and_lines_lie_over_bands() -> None:
    figure = sparsity_figure({"LoRA": SEEDS, "CoTo": SEEDS})
    assert [trace.fill for trace in figure.data] == ["toself", None, "toself", None, None]
    for name, (band, line) in zip(("LoRA", "CoTo"), (figure.data[:2], figure.data[2:4]), strict=True):
        assert (band.zorder or 0) < line.zorder
        assert {trace.legendgroup for trace in (band, line)} == {name}
        assert band.fillcolor == line.line.color == STYLES[name]["color"]
        assert (line.line.dash, line.marker.symbol) == (STYLES[name]["dash"], STYLES[name]["symbol"])
    assert "sparsity" in figure.layout.xaxis.title.text and "%" in figure.layout.yaxis.title.text and figure.layout.height


@pytest.mark.parametrize(
    "curves", [[], [SEEDS[0], curve(0.9, 0.8, 0.7, sparsity=(0, 0.4, 1))], [SEEDS[0], curve(0.9, sparsity=(0,))]]
)
def test_curves_that_cannot_be_averaged_are_refused(curves: list[SparsityCurve]) -> None:
    with pytest.raises(ValueError, match=rf"curves\['CoTo'\] has {len(curves)} curves"):
        sparsity_figure({"CoTo": curves})
