"""Images of a task."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures.style import dress
from coto_lab.figures.tiles import TILES


def image_figure(images: Tensor, titles: Sequence[str], columns: int = 10) -> go.Figure:
    """A table of grey images, with dark ink on light paper.

    Args:
        images: ``[n, 1, height, width]`` in [-1, 1], where ink is 1.
        titles: one title per image.
        columns: the number of images in a row.
    """
    rows = -(-len(images) // columns)
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=list(titles), horizontal_spacing=0.01)
    for i, image in enumerate(images[:, 0]):
        grey = go.Heatmap(z=image.numpy(), **TILES)
        figure.add_trace(grey, row=i // columns + 1, col=i % columns + 1)
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, autorange="reversed", constrain="domain")
    for x, y in zip(figure.select_xaxes(), figure.select_yaxes(), strict=True):  # every image gets square pixels
        y.scaleanchor = x.plotly_name.replace("axis", "")
    return dress(figure, height=60 + 110 * rows).update_layout(margin={"l": 10, "r": 10, "t": 40, "b": 10})
