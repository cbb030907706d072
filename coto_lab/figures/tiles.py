"""Many small grey images as one heat map, which is a single trace; `image_figure` has one trace for each image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

PAPER = "#DCDCDC"  # darker than white, which would be too bright on a dark page
_GAP = -1.3  # the value of gaps between images; it is below all values of images and drawn transparent
_FIRST = (-1 - _GAP) / (1 - _GAP)  # the place of the value of paper, -1, on the colour scale
TILES = {  # options of the heat map
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
WRONG = "#D55E00"  # Okabe-Ito's vermilion, for the words with wrong answers; these words need a second cue beside the colour
_DOWN, _RIGHT = 1.6, 1.1  # distance to the next image, in image sizes: room for words below, and a gap on the right


def tile_strip(
    images: Tensor, shape: tuple[int, int], places: Sequence[tuple[int, int]] | None = None
) -> tuple[Tensor, list[float], list[float]]:
    """A sheet with rows and columns of images on paper, and the places of the words below the images.

    The size of the sheet does not depend on the number of images, so that a redrawn figure keeps its axes. Draw the sheet as a
    heat map with the options `TILES`, over a y axis that is reversed and has the scale of the x axis.

    Args:
        images: ``[n, 1, height, width]`` in [-1, 1], where ink is 1.
        shape: the numbers of rows and columns of the sheet.
        places: row and column of each image; by default the images fill row after row.

    Returns:
        The sheet, float32 ``[rows * 1.6 height, columns * 1.1 width]``; for each column the x of its middle, the place of a
        tick; for each row the y of the words below the images.

    Raises:
        ValueError: there are more images than places.
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
