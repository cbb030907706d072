"""The figure of the interpolation explorer; the static one is tested with the others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from coto_lab.figures import STYLES
from coto_lab.figures.interpolation import line_explorer_figure
from coto_lab.figures.theme import INK
from coto_lab.probes.flips import Flips
from coto_lab.probes.interpolation import Curve
from coto_lab.tasks import Example

CLASSES = ("a", "b", "c")
IMAGES = torch.rand(40, 1, 8, 8)
EXAMPLES = [Example(CLASSES[i % 3], image=image) for i, image in enumerate(IMAGES)]


def curve(accuracy: list[float], loss: list[float]) -> Curve:
    alphas = torch.linspace(0, 1, len(accuracy), dtype=torch.float64)
    return Curve(alphas, *(torch.tensor(values, dtype=torch.float64) for values in (accuracy, loss)), how="fuse")


CURVES = {"LoRA": curve([0.9, 0.62, 0.8], [0.1, 1.5, 0.2]), "CoTo": curve([0.9, 0.85, 0.9], [0.1, 0.3, 0.2])}
MILD = {"LoRA": curve([0.9, 0.95, 0.8], [0.1, 0.1, 0.2]), "CoTo": curve([0.9, 0.91, 0.9], [0.1, 0.1, 0.2])}


def flipped(n: int) -> Flips:
    """From right to wrong."""
    right = torch.ones(n, dtype=torch.bool)
    return Flips(torch.arange(n), right, ~right, torch.arange(n) % 3, torch.arange(1, n + 1) % 3)


def draw(curves: Mapping[str, Curve | None], at: int, flips: Flips | None, figure: go.Figure | None = None) -> go.Figure:
    return line_explorer_figure(curves, at, flips, EXAMPLES, CLASSES, figure)


def named(figure: go.Figure, name: str) -> list[go.Scatter]:
    return [trace for trace in figure.data if trace.name == name]


def test_every_curve_has_a_mark_at_the_alpha_and_a_line_goes_through_all() -> None:
    figure = draw(CURVES, 1, None)
    for name, own in CURVES.items():
        for lines, marks, values in zip(
            named(figure, name), named(figure, f"{name}, here"), (100 * own.accuracy, own.loss), strict=True
        ):
            assert lines.y.tolist() == values.tolist() and marks.y.tolist() == [values[1].item()]
            assert marks.x.tolist() == [0.5] and marks.marker.color == lines.line.color == STYLES[name]["color"]
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(0.5, 0.5)] * 2


def test_the_strip_shows_the_first_twenty_flips() -> None:
    for n, shown in ((0, 0), (3, 3), (33, 20)):
        grey, words = draw(CURVES, 1, flipped(n)).data[-2:]
        assert len(words.text) == len(words.x) == shown
        assert (grey.z >= -1).sum() == shown * 64, "as many images on the paper"
    assert list(words.text[:3]) == ["a: a→b", "b: b→c", "c: c→a"] and set(words.textfont.color) == {"#D55E00"}
    mended = Flips(torch.tensor([8]), *torch.tensor([[False], [True]]), *torch.tensor([[0], [2]]))
    grey, words = draw(CURVES, 1, mended).data[-2:]
    assert (list(words.text), list(words.textfont.color)) == (["c: a→c"], [INK])
    np.testing.assert_array_equal(grey.z[:8, :8], IMAGES[8, 0])


@pytest.mark.parametrize("kind", [go.Figure, go.FigureWidget])
def test_it_is_redrawn_in_place(kind: type[go.Figure]) -> None:
    figure = kind(draw(CURVES, 0, None))
    traces = figure.data
    assert draw(MILD, 2, flipped(4), figure) is figure
    assert all(before is after for before, after in zip(traces, figure.data, strict=True))
    fresh = draw(MILD, 2, flipped(4))
    for trace, other in zip(figure.data, fresh.data, strict=True):
        assert trace.type == other.type and trace.text == other.text
        for axis in ("x", "y", "z") if trace.type == "heatmap" else ("x", "y"):
            np.testing.assert_array_equal(trace[axis], other[axis])
    assert figure.layout.shapes == fresh.layout.shapes


def test_its_axes_grow_and_never_shrink() -> None:
    figure = draw(MILD, 0, None)
    assert figure.layout.yaxis.range == (80, 101) and figure.layout.yaxis2.range[1] == pytest.approx(0.21)
    draw(CURVES, 0, None, figure)
    assert figure.layout.yaxis.range == (60, 101) and figure.layout.yaxis2.range[1] == pytest.approx(1.575)
    draw(MILD, 0, None, figure)
    assert figure.layout.yaxis.range == (60, 101) and figure.layout.yaxis2.range[1] == pytest.approx(1.575)


def test_before_and_after_there_are_curves() -> None:
    figure = draw({"LoRA": None, "CoTo": None}, 1, None)
    assert figure.layout.yaxis.range == (0, 101) and not figure.layout.shapes
    draw(MILD, 1, flipped(2), figure)
    assert figure.layout.yaxis.range == (80, 101), "nothing was drawn that the heights had to be compared with"
    draw({"LoRA": None, "CoTo": CURVES["CoTo"]}, 1, None, figure)
    assert all(len(trace.y) == 0 for trace in named(figure, "LoRA")), "what is no longer there is not shown"
