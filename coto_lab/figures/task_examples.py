"""Examples of several tasks, one row for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import torch

from coto_lab.figures.style import dress
from coto_lab.figures.tiles import TILES, tile_strip
from coto_lab.tasks.task import Example


def task_examples_figure(examples: Mapping[str, Sequence[Example]]) -> go.Figure:
    """Images of each task in a row, with the right answers below them.

    Args:
        examples: task -> examples with images of one size.
    """
    shape = len(examples), max(map(len, examples.values()))
    places = [(row, column) for row, own in enumerate(examples.values()) for column in range(len(own))]
    shown = [example for own in examples.values() for example in own]
    images = torch.stack([example.image for example in shown if example.image is not None])
    sheet, middles, below = tile_strip(images, shape, places)
    height = images.shape[2]
    words = go.Scatter(
        x=[middles[column] for _, column in places],
        y=[below[row] for row, _ in places],
        text=[example.answer for example in shown],
        mode="text",
        hoverinfo="skip",
    )
    figure = go.Figure([go.Heatmap(z=sheet.numpy(), **TILES), words])
    figure.update_xaxes(visible=False, range=[-0.5, sheet.shape[1] - 0.5], constrain="domain")
    figure.update_yaxes(
        tickvals=[y - 0.75 * height for y in below],
        ticktext=list(examples),
        range=[sheet.shape[0] - 0.5, -0.5],
        scaleanchor="x",
        constrain="domain",
        showgrid=False,
        zeroline=False,
    )
    return dress(figure, height=80 * shape[0] + 30).update_layout(showlegend=False, margin={"l": 110, "t": 10, "b": 10})
