"""What a run reads with some of its adapters switched off: how much, which digit for which, and samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures._style import GUESS_COLOR, dress, style
from coto_lab.figures._theme import INK
from coto_lab.figures._tiles import TILES, WRONG, tile_strip

_SAMPLES = 5  # images of each class
_FEW = 5  # mistakes of a kind that have the last colour, where there are no more of any


def switchboard_figure(
    predicted: Tensor | None,
    labels: Tensor,
    images: Tensor,
    classes: Sequence[str],
    *,
    name: str = "",
    position: int = 0,
    whole: float | None = None,
    figure: Any = None,
) -> Any:
    """Accuracy as a bar, the confusion matrix (true × predicted class), and sample images with what they are classified as.

    The colours of the mistakes reach as far as the most frequent one does; the diagonal has another colour, and counts that are
    0 have none. The samples are the first five images of each class, one column per class.

    Args:
        predicted: the class read in each of the N images, int64 ``[N]``; None before there is anything to show.
        labels: the true classes, int64 ``[N]``.
        images: ``[N, 1, height, width]`` in [-1, 1], ink 1.
        classes: their names.
        name: the method, for the bar's colour.
        position: of the method among those shown elsewhere: decides the colour of one that has none of its own.
        whole: accuracy with all adapters on, a share, drawn as a mark beside the bar.
        figure: a figure of an earlier call with the same labels and images, updated in place; None makes one.
    """
    if figure is None:
        figure = _empty_figure(labels, images, classes)
    if predicted is None:
        return figure
    matrix = confusion_matrix(predicted, labels, len(classes))
    samples, _ = _samples(labels, len(classes))
    right = (predicted == labels)[samples].tolist()
    read = [f"{classes[i]} {'✓' if ok else '✗'}" for i, ok in zip(predicted[samples].tolist(), right, strict=True)]
    accuracy = (predicted == labels).double().mean().item() * 100
    look = style(name, position)
    bar, mark, mistakes, hits, _, text = figure.data
    diagonal = torch.eye(len(classes), dtype=torch.bool)
    with figure.batch_update():
        bar.update(x=[accuracy], text=[f"{accuracy:.1f}%"])
        bar.marker.update(
            color=look["color"], pattern={"shape": look["pattern"], "fgcolor": "white", "fgopacity": 0.4, "size": 6}
        )
        if whole is not None:
            mark.update(x=[whole * 100])
        wrong = matrix.masked_fill(diagonal, 0)
        mistakes.update(z=_counts(wrong), zmax=max(_FEW, int(wrong.max())))
        hits.update(z=_counts(matrix * diagonal))
        text.update(text=read)
        text.textfont.update(color=[INK if ok else WRONG for ok in right])
    return figure


def confusion_matrix(predicted: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """How many images of each class (row) are classified as each class (column): int64 ``[n_classes, n_classes]``.

    Args:
        predicted: int64 ``[N]``.
        labels: int64 ``[N]``.
        n_classes: how many classes there are.

    Source: the layout of ``sklearn.metrics.confusion_matrix``.
    """
    return (labels * n_classes + predicted).bincount(minlength=n_classes**2).reshape(n_classes, n_classes)


def _counts(matrix: Tensor) -> list[list[int | None]]:
    """Rows of a heat map, blank where the count is 0."""
    return [[n or None for n in row] for row in matrix.tolist()]


def _samples(labels: Tensor, n_classes: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Indices of the first images of each class, and row and column (the class) of each; a class of fewer has fewer."""
    firsts = [(labels == column).nonzero().flatten()[:_SAMPLES].tolist() for column in range(n_classes)]
    places = [(row, column) for column, indices in enumerate(firsts) for row in range(len(indices))]
    return [index for indices in firsts for index in indices], places


def _empty_figure(labels: Tensor, images: Tensor, classes: Sequence[str]) -> go.Figure:
    figure = make_subplots(
        rows=2,
        cols=2,
        specs=[[{"colspan": 2}, None], [{}, {}]],
        row_heights=[0.1, 0.9],
        column_widths=[0.45, 0.55],
        vertical_spacing=0.22,
        horizontal_spacing=0.12,
        subplot_titles=["", "confusion matrix", "samples, and below each the predicted digit"],
    )
    bar = go.Bar(
        name="these gates",
        x=[],
        y=[""],
        orientation="h",
        textposition="inside",
        insidetextanchor="start",
        textangle=0,
        constraintext="none",
        textfont={"color": "white"},
        hovertemplate="%{x:.1f}%<extra></extra>",
    )
    tick = {"symbol": "line-ns", "size": 30, "color": GUESS_COLOR, "line": {"width": 3, "color": GUESS_COLOR}}
    mark = go.Scatter(name="all open", x=[], y=[""], mode="markers", marker=tick, hovertemplate="all open: %{x:.1f}%")
    cells = {
        "x": list(classes), "y": list(classes), "z": [[None] * len(classes)] * len(classes), "texttemplate": "%{z}",
        "hoverongaps": False, "hovertemplate": "%{z} images of a %{y}, classified as %{x}<extra></extra>", "xgap": 1, "ygap": 1,
    }  # fmt: skip
    orange, blue = [[0, "#FBE3D2"], [1, "#D55E00"]], [[0, "#DCE9F5"], [1, "#56A0D3"]]
    bar_of_colours = {"title": "mistakes", "x": 0.4, "len": 0.8, "y": 0.4, "thickness": 12}
    mistakes = go.Heatmap(name="mistakes", zmin=0, zmax=_FEW, colorscale=orange, colorbar=bar_of_colours, **cells)
    top = labels.bincount().max().item()
    hits = go.Heatmap(name="classified correctly", zmin=0, zmax=top, colorscale=blue, showscale=False, **cells)
    figure.add_traces([bar, mark], rows=1, cols=1)
    figure.add_traces([mistakes, hits], rows=2, cols=1)
    samples, places = _samples(labels, len(classes))
    sheet, middles, words = tile_strip(images[samples], (_SAMPLES, len(classes)), places)
    grey = go.Heatmap(name="samples", z=sheet.numpy(), **TILES)
    text = go.Scatter(
        name="read",
        x=[middles[column] for _, column in places],
        y=[words[row] for row, _ in places],
        mode="text",
        text=[""] * len(places),
        hoverinfo="skip",
    )
    figure.add_traces([grey, text], rows=2, cols=2)
    figure.update_xaxes(
        title={"text": "accuracy, % (grey mark: with all adapters open)", "standoff": 4}, range=[0, 100], row=1, col=1
    )
    figure.update_yaxes(showticklabels=False, row=1, col=1)
    category = {"type": "category", "dtick": 1, "showgrid": False}
    figure.update_xaxes(title="predicted digit", **category, row=2, col=1)
    figure.update_yaxes(title="true digit", autorange="reversed", **category, row=2, col=1)
    height, width = sheet.shape
    ticks = {"tickvals": middles, "ticktext": list(classes), "showgrid": False, "zeroline": False}
    figure.update_xaxes(title="true digit", range=[-0.5, width - 0.5], **ticks, row=2, col=2)
    figure.update_yaxes(visible=False, range=[height - 0.5, -0.5], scaleanchor="x3", constrain="domain", row=2, col=2)
    return dress(figure, height=490).update_layout(showlegend=False, margin={"t": 10, "b": 50})
