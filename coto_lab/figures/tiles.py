"""Many small grey images as one heat map: one trace where `image_figure` has one a piece."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

PAPER = "#DCDCDC"  # darker than white, which would glare on a dark page
_GAP = -1.3  # below all ink: transparent
_FIRST = (-1 - _GAP) / (1 - _GAP)  # where paper begins on the scale, from the gaps to ink
TILES = {  # of a heat map of a sheet
    "zmin": _GAP,
    "zmax": 1,
    "colorscale": [
        [0, "rgba(0, 0, 0, 0)"],
        [_FIRST / 2, "rgba(0, 0, 0, 0)"],
        [_FIRST / 2, PAPER],
        [_FIRST, PAPER],
        [1, "#111111"],
    ],
    "showscale": False,
    "hoverinfo": "skip",
}
WRONG = "#D55E00"  # Okabe-Ito's vermilion, for the words below what is classified wrongly; they need a second cue
_DOWN, _RIGHT = 1.6, 1.1  # from an image to the next, in images: room for words below it, and a gap beside it


def tile_strip(
    images: Tensor, shape: tuple[int, int], places: Sequence[tuple[int, int]] | None = None
) -> tuple[Tensor, list[float], list[float]]:
    """A sheet with rows and columns of images on paper, and where the words below each have their middle.

    The sheet is as large with few images as with many, so that a figure redrawn with others keeps its axes. Draw it as a heat
    map with the options `TILES`, over a y axis that is reversed and scaled like x.

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
    sheet = torch.full((round(rows * height * _DOWN), round(columns * width * _RIGHT)), _GAP)
    for image, (row, column) in zip(images[:, 0], places, strict=True):
        sheet[tops[row] : tops[row] + height, lefts[column] : lefts[column] + width] = image
    return sheet, [left + (width - 1) / 2 for left in lefts], [top + height * 1.25 for top in tops]
