"""A sheet of sampled glyphs: a row for each model, a column for each character."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.figures.style import dress
from coto_lab.figures.tiles import TILES, tile_strip

_ROW = 80  # pixels of the page


def glyph_sheet_figure(rows: Mapping[str, Float[Tensor, "characters each 1 height width"]], characters: str) -> go.Figure:
    """The images that several models made of the same noise, so that those of one column can be compared.

    Args:
        rows: what is written beside a row -> its images in [-1, 1], where ink is 1, character by character.
        characters: what was asked for, one for each group of images.

    Raises:
        ValueError: no rows, or rows of different shapes, or not one group of images for each character.
    """
    shapes = {tuple(images.shape) for images in rows.values()}
    if len(shapes) != 1 or {shape[0] for shape in shapes} != {len(characters)}:
        raise ValueError(
            f"rows have the shapes {sorted(shapes)} for the characters {characters!r}: give at least one row, all of one "
            "shape, with as many groups of images as there are characters."
        )
    ((n, each, _, height, width),) = shapes
    images = torch.cat([own.reshape(n * each, 1, height, width) for own in rows.values()])
    sheet, middles, _ = tile_strip(images, (len(rows), n * each))
    tall, wide = sheet.shape
    heads = [sum(middles[i * each : (i + 1) * each]) / each for i in range(n)]
    tops = [round(row * height * 1.6) + (height - 1) / 2 for row in range(len(rows))]
    figure = go.Figure(go.Heatmap(z=sheet.numpy(), **TILES))
    figure.update_xaxes(
        range=[-0.5, wide - 0.5],
        side="top",
        tickvals=heads,
        ticktext=list(characters),
        showgrid=False,
        zeroline=False,
        constrain="domain",
    )
    figure.update_yaxes(
        range=[tall - 0.5, -0.5],
        tickvals=tops,
        ticktext=list(rows),
        showgrid=False,
        zeroline=False,
        scaleanchor="x",
        constrain="domain",
    )
    return dress(figure, height=70 + _ROW * len(rows)).update_layout(margin={"t": 40, "b": 10})
