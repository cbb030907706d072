"""Many small grey images as one heat map: one trace where `image_figure` has one a piece."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WRONG = "#D55E00"  # Okabe-Ito's vermilion, for the words below what is read wrong; they need a second cue
_DOWN, _RIGHT = 1.6, 1.1  # from an image to the next, in images: room for words below it, and a gap beside it


def tile_strip(
    images: Tensor, shape: tuple[int, int], places: Sequence[tuple[int, int]] | None = None
) -> tuple[Tensor, list[float], list[float]]:
    """A sheet of paper with rows and columns of images on it, and where the words below each have their middle.

    The sheet is as large with few images as with many, so that a figure redrawn with others keeps its axes. Draw it as a heat
    map with ``zmin=-1, zmax=1, colorscale="Greys"``, over a y axis that is reversed and scaled like x.

    Args:
        images: ``[n, 1, height, width]`` in [-1, 1], ink 1.
        shape: how many rows and columns the sheet has.
        places: row and column of each image; by default they fill row after row.

    Returns:
        The sheet, float32 ``[rows * 1.6 height, columns * 1.1 width]``; for each column the x of its middle, which is where a
        tick goes; for each row the y of the words below it.

    Raises:
        ValueError: more images than places.
    """
    (rows, columns), (height, width) = shape, images.shape[2:]
    places = [divmod(i, columns) for i in range(rows * columns)][: len(images)] if places is None else places
    if len(places) != len(images):
        raise ValueError(f"images: there are {len(images)}, and {len(places)} places on a sheet of {rows} x {columns}.")
    tops = [round(row * height * _DOWN) for row in range(rows)]
    lefts = [round(column * width * _RIGHT) for column in range(columns)]
    sheet = torch.full((round(rows * height * _DOWN), round(columns * width * _RIGHT)), -1.0)
    for image, (row, column) in zip(images[:, 0], places, strict=True):
        sheet[tops[row] : tops[row] + height, lefts[column] : lefts[column] + width] = image
    return sheet, [left + (width - 1) / 2 for left in lefts], [top + height * 1.25 for top in tops]
