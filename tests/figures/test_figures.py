from __future__ import annotations

import plotly.graph_objects as go
import pytest
import torch

from coto_lab import Run, Task, Training
from coto_lab.figures import (
    CONFIG,
    STYLES,
    image_figure,
    interpolation_figure,
    pruning_figure,
    schedule_figure,
    training_figure,
)
from coto_lab.figures.style import smooth, style
from coto_lab.probes.interpolation import Curve
from coto_lab.probes.pruning import PruningTable
from coto_lab.training.history import History


def doubles(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


CURVES = {
    "LoRA": Curve(doubles(0, 0.5, 1), doubles(0.9, 0.6, 0.8), doubles(0.1, 1.5, 0.2), "fuse"),
    "CoTo": Curve(doubles(0, 0.5, 1), doubles(0.9, 0.85, 0.9), doubles(0.1, 0.3, 0.2), "fuse"),
    "mine": Curve(doubles(0, 0.5, 1), doubles(0.5, 0.4, 0.5), doubles(1.1, 1.3, 1.2), "fuse"),
}
TABLES = {
    name: PruningTable(("all", "low third", "none"), doubles(1, 0.25, 0), doubles(0.9, top, 0.47), doubles(0.1, 1, 2))
    for name, top in (("LoRA", 0.5), ("CoTo", 0.8), ("mine", 0.7))
}


@pytest.fixture
def histories(runs: tuple[Run, Run]) -> dict[str, History]:
    return {"LoRA": runs[0].history, "CoTo": runs[1].history, "mine": runs[0].history}


@pytest.fixture
def figures(histories: dict[str, History], tiny_task: Task, runs: tuple[Run, Run]) -> dict[str, go.Figure]:
    return {
        "training": training_figure(histories, 16),
        "interpolation": interpolation_figure(CURVES, {"LoRA": 40.0}),
        "pruning": pruning_figure(TABLES),
        "schedule": schedule_figure(Training(tiny_task, runs[0].recipe).coto),
    }


def test_the_toolbar_has_no_button_that_uploads() -> None:
    assert CONFIG["showSendToCloud"] is False
    assert "plotlyServerURL" not in CONFIG


def test_axes_say_what_they_show(figures: dict[str, go.Figure]) -> None:
    for name, figure in figures.items():
        assert isinstance(figure, go.Figure)
        for axis in ("xaxis", "yaxis"):
            titles = [figure.layout[key].title.text for key in figure.layout if key.startswith(axis)]
            assert any(titles), (name, axis)
        assert figure.layout.height  # fixed, so that a redrawn figure does not move the page


def test_a_method_has_one_colour_everywhere(figures: dict[str, go.Figure]) -> None:
    colours: dict[str, set[str]] = {"LoRA": set(), "CoTo": set(), "mine": set()}
    for trace in [trace for figure in figures.values() for trace in figure.data if trace.name in colours]:
        if trace.type != "heatmap":
            colours[trace.name].add(trace.marker.color if trace.type == "bar" else trace.line.color)
    assert all(len(found) == 1 for found in colours.values()), colours
    assert colours["LoRA"] == {STYLES["LoRA"]["color"]} and colours["CoTo"] == {STYLES["CoTo"]["color"]}
    assert len(set.union(*colours.values())) == 3


def test_styles_differ_in_more_than_colour() -> None:
    looks = [*STYLES.values(), *(style("another", position) for position in range(3))]
    for key in ("color", "dash", "symbol"):
        assert len({look[key] for look in looks}) == len(looks)
    assert len({look["pattern"] for look in STYLES.values()}) == len(STYLES)  # plotly has no more than eight


def test_smooth_is_the_mean_of_the_last_values() -> None:
    values = torch.tensor([3.0, 1.0, 5.0, 7.0])
    assert smooth(values, window=2).tolist() == [3, 2, 3, 6]
    assert smooth(values, window=10).tolist() == [3, 2, 3, 4]
    assert smooth(torch.zeros(0)).shape == (0,)


def test_interpolation_figure_holds_the_curves_and_the_guess() -> None:
    figure = interpolation_figure(CURVES, {"CoTo": 55.0})
    for name, curve in CURVES.items():
        accuracy, loss = (trace for trace in figure.data if trace.name == name)
        assert accuracy.x.tolist() == loss.x.tolist() == curve.alphas.tolist()
        assert accuracy.y.tolist() == (curve.accuracy * 100).tolist() and loss.y.tolist() == curve.loss.tolist()
        assert (accuracy.xaxis, loss.xaxis) == ("x", "x2") and loss.showlegend is False
    guess = next(trace for trace in figure.data if trace.name == "your guess, CoTo")
    assert (list(guess.x), list(guess.y), guess.marker.color) == ([0.5], [55.0], STYLES["CoTo"]["color"])
    assert not [trace for trace in interpolation_figure(CURVES).data if "guess" in trace.name]


def test_pruning_figure_holds_the_tables_and_the_base() -> None:
    figure = pruning_figure(TABLES)
    bars = {trace.name: trace for trace in figure.data if trace.type == "bar"}
    assert bars.keys() == TABLES.keys()
    for name, table in TABLES.items():
        assert list(bars[name].x) == ["all", "low third"]
        assert list(bars[name].y) == (table.accuracy[:2] * 100).tolist()
    (line,) = figure.layout.shapes
    assert (line.name, line.y0, line.y1) == ("base model, no adapter", 47.0, 47.0)


def test_pruning_figure_draws_the_guess_on_the_bar_that_it_is_about() -> None:
    figure = pruning_figure(TABLES, {"LoRA": 61.0}, guessed="low third")
    (guess,) = (trace for trace in figure.data if "guess" in trace.name)
    assert (guess.name, list(guess.x), list(guess.y)) == ("your guess, LoRA", ["low third"], [61.0])
    (bar,) = (trace for trace in figure.data if trace.name == "LoRA")
    assert guess.offsetgroup == bar.offsetgroup and figure.layout.scattermode == figure.layout.barmode == "group"
    assert guess.marker.line.color == "black" != bar.marker.color


def test_image_figure_shows_every_image_upright() -> None:
    images = torch.linspace(-1, 1, 3 * 4).reshape(3, 1, 2, 2)
    figure = image_figure(images, ["a", "b", "c"], columns=2)
    assert [trace.z.tolist() for trace in figure.data] == images[:, 0].tolist()
    assert [annotation.text for annotation in figure.layout.annotations] == ["a", "b", "c"]
    assert figure.layout.yaxis.autorange == "reversed"  # row 0 on top
