from __future__ import annotations

import json

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from coto_lab.figures.simplex import simplex_explorer_figure, simplex_figure
from coto_lab.probes.flips import Flips
from coto_lab.probes.simplex import Simplex, barycentric_grid
from coto_lab.tasks import Example


def record(steps: int = 3, depth: float = 5.0) -> Simplex:
    """Accuracy 0.9 at the corners, lower in between; loss 1 less it."""
    weights = barycentric_grid(steps)
    accuracy = 0.9 - depth * weights.prod(1)
    return Simplex(weights, accuracy, 1 - accuracy, "fuse", ("seed 4", "seed 5", "seed 6"))


def panel(figure: go.Figure, position: int) -> list[go.Scatter | go.Heatmap]:
    """Surface, outline, dots and labels of one method."""
    return list(figure.data[4 * position : 4 * position + 4])


def test_dots_are_the_mixtures() -> None:
    one = record()
    _, _, dots, _ = panel(simplex_figure({"CoTo": one}), 0)
    np.testing.assert_allclose(dots.marker.color, one.accuracy * 100)
    np.testing.assert_allclose(dots.customdata, np.column_stack([one.weights * 100, one.accuracy * 100]))
    # In the plane, a distance from the side opposite to a corner is that corner's weight, as a share of the height.
    np.testing.assert_allclose(dots.y / np.sqrt(0.75), one.weights[:, 2], atol=1e-12)
    np.testing.assert_allclose(dots.x, one.weights[:, 1] + one.weights[:, 2] / 2, atol=1e-12)
    assert "seed 4: %{customdata[0]:.0f}%<br>seed 5" in dots.hovertemplate


def test_the_surface_is_linear_between_the_dots() -> None:
    weights = barycentric_grid(4)
    tilted = 0.2 * weights[:, 0] + 0.5 * weights[:, 1] + 0.7 * weights[:, 2]
    surface = panel(simplex_figure({"a": Simplex(weights, tilted, tilted, "fuse", ("a", "b", "c"))}), 0)[0]
    x, y = np.meshgrid(surface.x, surface.y)
    third = y / np.sqrt(0.75)
    second = x - third / 2
    shares = np.stack([1 - second - third, second, third])
    inside, outside = (shares > 1e-9).all(0), (shares < -1e-9).any(0)
    z = np.array(surface.z, dtype=float)
    assert np.isnan(z[outside]).all() and outside.any()
    np.testing.assert_allclose(z[inside], np.tensordot([20, 50, 70], shares, 1)[inside], atol=0.006)  # two decimals


def test_corners_and_centre_have_their_accuracy_written_on() -> None:
    with_centre = simplex_figure({"LoRA": record(3), "CoTo": record(2)})
    labels = panel(with_centre, 0)[3]
    assert list(labels.text) == ["seed 4<br>90.0%", "seed 5<br>90.0%", "seed 6<br>90.0%"]
    assert labels.y[2] > labels.y[0] == labels.y[1] and labels.x[0] < labels.x[2] < labels.x[1]
    titles = [annotation.text for annotation in with_centre.layout.annotations]
    assert titles[:2] == ["LoRA<br>accuracy barrier 18.5 points", "CoTo<br>accuracy barrier 0.0 points"]  # 5 / 27
    # The centre is the lowest; of equally high corners, the first. steps=2 has no 1:1:1 mixture, and is flat.
    assert titles[2:] == ["▼ 71.5%", "▲ 90.0%", "▲ 90.0%"]
    centre = with_centre.layout.annotations[2]
    assert (centre.xref, centre.x) == ("x", pytest.approx(0.5)) and centre.y == pytest.approx(np.sqrt(0.75) / 3)


def test_the_highest_and_the_lowest_mixture_are_marked() -> None:
    weights = barycentric_grid(3)
    accuracy = torch.linspace(0.5, 0.8, len(weights), dtype=torch.float64)
    accuracy[2], accuracy[7] = 0.41, 0.93
    figure = simplex_figure({"a": Simplex(weights, accuracy, accuracy, "fuse", ("a", "b", "c"))})
    dots = panel(figure, 0)[2]
    marks = {a.text: (a.x, a.y) for a in figure.layout.annotations[1:]}
    centre = f"{100 * accuracy[weights.std(1).argmin()]:.1f}%"
    assert marks.keys() == {"▲ 93.0%", "▼ 41.0%", centre}
    assert marks["▲ 93.0%"] == pytest.approx((dots.x[7], dots.y[7]))
    assert marks["▼ 41.0%"] == pytest.approx((dots.x[2], dots.y[2]))


@pytest.mark.parametrize(("n", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 2, 2), (5, 2, 3), (7, 3, 3)])
def test_panels_share_one_colour_scale(n: int, rows: int, columns: int) -> None:
    figure = simplex_figure({f"method {i}": record(depth=i) for i in range(n)})
    grid = figure._grid_ref
    assert (len(grid), len(grid[0])) == (rows, columns)
    for i in range(n):
        surface, outline, dots, labels = panel(figure, i)
        assert surface.coloraxis == dots.marker.coloraxis == "coloraxis"
        assert len({trace.xaxis for trace in (surface, outline, dots, labels)}) == 1
    assert len({trace.xaxis for trace in figure.data}) == n
    for x, y in zip(figure.select_xaxes(), figure.select_yaxes(), strict=True):
        assert y.scaleanchor == x.plotly_name.replace("axis", "")  # equilateral at any width


def test_figure_is_plain_json() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(simplex_figure({"LoRA": record()}).to_json(), parse_constant=refuse)
    surface = panel(simplex_figure({"LoRA": record()}), 0)[0]
    assert None in np.ravel(surface.z).tolist()  # no NaN, which plotly would send as bytes


def explorer(records: dict[str, Simplex | None], at: int = 0, figure: go.Figure | None = None) -> go.Figure:
    flips = Flips(torch.tensor([2]), *torch.tensor([[True], [False]]), *torch.tensor([[0], [1]]))
    examples = [Example("a", image=image) for image in torch.rand(3, 1, 8, 8)]
    return simplex_explorer_figure(records, at, flips, examples, ("a", "b"), figure)


def test_the_explorer_marks_one_mixture_in_every_triangle() -> None:
    one = record()
    figure = explorer({"LoRA": one, "CoTo": record(depth=1)}, at=4)
    for first in (0, 5):
        *triangle, mark = figure.data[first : first + 5]
        assert [trace.type for trace in triangle] == ["heatmap", "scatter", "scatter", "scatter"]
        assert (mark.x[0], mark.y[0]) == (triangle[2].x[4], triangle[2].y[4]) and len(mark.x) == 1
    assert "CoTo, accuracy barrier 3.7 points<br>here: 86.3%, loss 0.14" in [a.text for a in figure.layout.annotations]
    assert list(figure.data[-1].text) == ["a: a→b"]


@pytest.mark.parametrize("kind", [go.Figure, go.FigureWidget])
def test_the_explorer_is_redrawn_in_place(kind: type[go.Figure]) -> None:
    figure = kind(explorer({"LoRA": None, "CoTo": None}))
    traces = figure.data
    assert figure.layout.coloraxis.cmin is None
    explorer({"LoRA": record(), "CoTo": record(depth=1)}, figure=figure)
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == pytest.approx((71.48, 90), abs=0.01)
    assert explorer({"LoRA": None, "CoTo": record(depth=1)}, 4, figure) is figure
    assert all(before is after for before, after in zip(traces, figure.data, strict=True))
    assert figure.data[0].z is figure.data[2].x is figure.data[3].text is None, "what is no longer there is not shown"
    fresh = explorer({"LoRA": None, "CoTo": record(depth=1)}, 4)
    np.testing.assert_array_equal(figure.data[5].z, fresh.data[5].z)
    assert figure.layout.annotations == fresh.layout.annotations
    assert figure.layout.coloraxis.cmin == pytest.approx(71.48, abs=0.01), "the scale grows and never shrinks"
