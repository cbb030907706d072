"""Scores on the triangle between three runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from coto_lab.figures.flips import add_flips, flips_title
from coto_lab.figures.redraw import redrawn
from coto_lab.figures.style import dress
from coto_lab.figures.theme import INK, LABEL, magnification
from coto_lab.probes.flips import Flips
from coto_lab.probes.simplex import Simplex
from coto_lab.tasks.task import Example

_CORNERS = np.array([[0, 0], [1, 0], [0.5, np.sqrt(0.75)]])  # corners of a triangle with sides of length 1
_PIXELS = 101  # pixels on each side of the rectangle around the triangle


def simplex_figure(simplexes: Mapping[str, Simplex]) -> go.Figure:
    """Test accuracy of all mixtures of three runs: one triangle per method, with the runs at its corners, and one colour scale.

    The dots are the scored mixtures, and the colour between the dots is interpolated linearly. Accuracies are written on the
    corners, on the 1:1:1 mixture in the centre if it was scored, and on the highest ▲ and the lowest ▼ mixture of each
    triangle.

    Args:
        simplexes: method name -> record.
    """
    titles = [f"{name}<br>accuracy barrier {record.accuracy_barrier * 100:z.1f} points" for name, record in simplexes.items()]
    rows = -(-len(titles) // 3)
    columns = -(-len(titles) // rows)
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=titles, horizontal_spacing=0.02, vertical_spacing=0.2 / rows)
    for i, record in enumerate(simplexes.values()):
        _add_triangle(figure, record, i // columns + 1, i % columns + 1)
    height = 60 + rows * (490 - 60 * columns)  # more panels in a row are smaller
    _set_axes(figure)
    return _dress(figure, height)


def simplex_explorer_figure(
    simplexes: Mapping[str, Simplex | None],
    at: int,
    flips: Flips | None,
    examples: Sequence[Example],
    classes: Sequence[str],
    figure: Any = None,
) -> Any:
    """The triangles of `simplex_figure` side by side, with a mark at one mixture, and below the examples that flip there.

    When the figure is redrawn with other records, the colour scale grows if necessary and never shrinks, so that colours stay
    comparable.

    Args:
        simplexes: method name -> record, all of the same mixtures; None if the method is not scored yet.
        at: index of the marked mixture.
        flips: flips of one method at the marked mixture; None leaves the strip empty.
        examples: examples of the whole test set.
        classes: names of the classes; empty for tasks without classes.
        figure: a figure of an earlier call with the same method names, updated in place; None makes a new one.
    """
    n = len(simplexes)
    fresh = make_subplots(
        rows=2,
        cols=n,
        specs=[[{}] * n, [{"colspan": n}, *[None] * (n - 1)]],
        row_heights=[0.62, 0.38],
        subplot_titles=[
            *(_here(name, record, at) for name, record in simplexes.items()),
            flips_title(flips, examples, classes),
        ],
        horizontal_spacing=0.02,
        vertical_spacing=0.12,
    )
    for column, record in enumerate(simplexes.values(), start=1):
        _add_triangle(fresh, record, 1, column)
        fresh.add_trace(_mark(record, at), row=1, col=column)
    _set_axes(fresh)
    add_flips(fresh, 2, flips, examples, classes)
    known = [record.accuracy * 100 for record in simplexes.values() if record is not None]
    lows, highs = [accuracy.min().item() for accuracy in known], [accuracy.max().item() for accuracy in known]
    if figure is not None and figure.layout.coloraxis.cmin is not None:
        lows.append(figure.layout.coloraxis.cmin)
        highs.append(figure.layout.coloraxis.cmax)
    fresh.update_coloraxes(cmin=min(lows, default=None), cmax=max(highs, default=None), colorbar={"len": 0.65, "y": 0.68})
    return _dress(fresh, 570) if figure is None else redrawn(figure, fresh)


def _here(name: str, record: Simplex | None, at: int) -> str:
    if record is None:
        return name
    accuracy, loss = record.accuracy[at].item(), record.loss[at].item()
    return f"{name}, accuracy barrier {record.accuracy_barrier * 100:z.1f} points<br>here: {accuracy:.1%}, loss {loss:.2f}"


def _mark(record: Simplex | None, at: int) -> go.Scatter:
    """A white dot in a black ring, which is visible on every colour of the surface."""
    x, y = ([], []) if record is None else (record.weights[at : at + 1].numpy() @ _CORNERS).T
    ring = {"size": 15, "color": "white", "line": {"color": "black", "width": 3}}
    return go.Scatter(name="here", x=x, y=y, mode="markers", marker=ring, hoverinfo="skip", showlegend=False)


def _add_triangle(figure: go.Figure, record: Simplex | None, row: int, column: int) -> None:
    """Add surface, outline, dots and labels of one method; without a record, only the outline is visible."""
    if record is None:
        nothing = [go.Heatmap(coloraxis="coloraxis"), _outline(), go.Scatter(mode="markers"), go.Scatter(mode="text")]
        figure.add_traces(nothing, rows=row, cols=column)
        return
    accuracy = (record.accuracy * 100).numpy()
    places = record.weights.numpy() @ _CORNERS
    shares = [f"{name}: %{{customdata[{k}]:.0f}}%" for k, name in enumerate(record.corners)]
    dots = go.Scatter(
        x=places[:, 0],
        y=places[:, 1],
        mode="markers",
        marker={"color": accuracy, "coloraxis": "coloraxis", "size": 6, "line": {"color": "white", "width": 0.75}},
        customdata=np.column_stack([record.weights.numpy() * 100, accuracy]),
        hovertemplate="<br>".join([*shares, "accuracy: %{customdata[3]:.1f}%<extra></extra>"]),
        showlegend=False,
    )
    figure.add_traces([_surface(places, accuracy), _outline(), dots, _labels(record)], rows=row, cols=column)
    for place, sign in _named(record).items():
        x, y = places[place]
        words = {"text": f"{sign}{accuracy[place]:.1f}%", "showarrow": False, "yshift": 18, "borderpad": 1}
        figure.add_annotation(x=x, y=y, **words, **LABEL, row=row, col=column)


def _named(record: Simplex) -> dict[int, str]:
    """The mixtures whose accuracy is written on the surface, and the sign before each number."""
    named = {} if record.centre is None else {record.centre: ""}
    return named | {int(record.accuracy.argmin()): "▼ ", int(record.accuracy.argmax()): "▲ "}


def _set_axes(figure: go.Figure) -> None:
    figure.update_xaxes(visible=False, range=[-0.15, 1.15], constrain="domain")
    figure.update_yaxes(visible=False, range=[-0.22, 1.12], constrain="domain")
    for y, x in zip(figure.select_yaxes(), figure.select_xaxes(), strict=True):
        y.update(scaleanchor=x.plotly_name.replace("axis", ""))
    figure.update_coloraxes(colorscale="Cividis", colorbar={"title": "test<br>accuracy, %"})


def _dress(figure: go.Figure, height: int) -> go.Figure:
    return dress(figure, height).update_layout(margin={"l": 20, "r": 20, "t": round(46 * magnification()), "b": 10})


def _surface(places: np.ndarray, values: np.ndarray) -> go.Heatmap:
    from scipy.interpolate import griddata  # imported here because it takes a second to load

    x = np.linspace(0, 1, _PIXELS)
    y = np.linspace(0, _CORNERS[2, 1], _PIXELS)
    z = griddata(places, values, tuple(np.meshgrid(x, y)))  # NaN outside the triangle; replaced below, as NaN is not JSON
    return go.Heatmap(x=x, y=y, z=np.where(np.isnan(z), None, z.round(2)), coloraxis="coloraxis", hoverinfo="skip")


def _outline() -> go.Scatter:
    x, y = _CORNERS[[0, 1, 2, 0]].T
    return go.Scatter(x=x, y=y, mode="lines", line={"color": INK, "width": 2}, hoverinfo="skip", showlegend=False)


def _labels(record: Simplex) -> go.Scatter:
    x, y = (_CORNERS + np.array([[0, -0.03], [0, -0.03], [0, 0.03]])).T
    accuracy = (record.accuracy[record.weights.argmax(0)] * 100).tolist()
    text = [f"{name}<br>{value:.1f}%" for name, value in zip(record.corners, accuracy, strict=True)]
    sides = ["bottom center", "bottom center", "top center"]
    return go.Scatter(x=x, y=y, mode="text", text=text, textposition=sides, hoverinfo="skip", showlegend=False)
