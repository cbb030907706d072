"""What a run reads with some of its adapters switched off: how much, which digit for which, and samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures._style import GUESS_COLOR, dress, style
from coto_lab.figures._tiles import WRONG, tile_strip

_SAMPLES = 5  # images of each class


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
    """Accuracy as a bar, the confusion matrix (true × predicted class), and sample images with what is read in them.

    The samples are the first five images of each class, one column per class.

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
    bar, mark, confusion, _, text = figure.data
    with figure.batch_update():
        bar.update(x=[accuracy], text=[f"{accuracy:.1f}%"])
        bar.marker.update(
            color=look["color"], pattern={"shape": look["pattern"], "fgcolor": "white", "fgopacity": 0.4, "size": 6}
        )
        if whole is not None:
            mark.update(x=[whole * 100])
        confusion.update(z=matrix.numpy(), text=[[str(n) if n else "" for n in row] for row in matrix.tolist()])
        text.update(text=read)
        text.textfont.update(color=["black" if ok else WRONG for ok in right])
    return figure


def confusion_matrix(predicted: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """How many images of each class (row) are read as each class (column): int64 ``[n_classes, n_classes]``.

    Args:
        predicted: int64 ``[N]``.
        labels: int64 ``[N]``.
        n_classes: how many classes there are.

    Source: the layout of ``sklearn.metrics.confusion_matrix``.
    """
    return (labels * n_classes + predicted).bincount(minlength=n_classes**2).reshape(n_classes, n_classes)


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
        vertical_spacing=0.2,
        horizontal_spacing=0.12,
        subplot_titles=["", "confusion matrix", "samples, and below each what is read"],
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
        textfont={"size": 16},
        hovertemplate="%{x:.1f}%<extra></extra>",
    )
    tick = {"symbol": "line-ns", "size": 30, "color": GUESS_COLOR, "line": {"width": 3, "color": GUESS_COLOR}}
    mark = go.Scatter(name="all open", x=[], y=[""], mode="markers", marker=tick, hovertemplate="all open: %{x:.1f}%")
    confusion = go.Heatmap(
        name="images",
        x=list(classes),
        y=list(classes),
        z=[[0] * len(classes)] * len(classes),
        zmin=0,
        zmax=labels.bincount().max().item(),
        colorscale="Cividis",
        texttemplate="%{text}",
        colorbar={"title": "images", "x": 0.4, "len": 0.78, "y": 0.36, "thickness": 12},
        hovertemplate="%{z} images of a %{y} read as %{x}<extra></extra>",
    )
    figure.add_traces([bar, mark], rows=1, cols=1)
    figure.add_trace(confusion, row=2, col=1)
    samples, places = _samples(labels, len(classes))
    sheet, middles, words = tile_strip(images[samples], (_SAMPLES, len(classes)), places)
    grey = go.Heatmap(name="samples", z=sheet.numpy(), zmin=-1, zmax=1, colorscale="Greys", showscale=False, hoverinfo="skip")
    text = go.Scatter(
        name="read",
        x=[middles[column] for _, column in places],
        y=[words[row] for row, _ in places],
        mode="text",
        text=[""] * len(places),
        textfont={"size": 13},
        hoverinfo="skip",
    )
    figure.add_traces([grey, text], rows=2, cols=2)
    figure.update_xaxes(title="accuracy, % (grey mark: with all adapters open)", range=[0, 100], row=1, col=1)
    figure.update_yaxes(showticklabels=False, row=1, col=1)
    figure.update_xaxes(title="read as", type="category", dtick=1, row=2, col=1)
    figure.update_yaxes(title="true digit", type="category", dtick=1, autorange="reversed", row=2, col=1)
    height, width = sheet.shape
    ticks = {"tickvals": middles, "ticktext": list(classes), "showgrid": False}
    figure.update_xaxes(title="true digit", range=[-0.5, width - 0.5], **ticks, row=2, col=2)
    figure.update_yaxes(visible=False, range=[height - 0.5, -0.5], scaleanchor="x3", constrain="domain", row=2, col=2)
    return dress(figure, height=560).update_layout(showlegend=False, margin={"t": 20})
