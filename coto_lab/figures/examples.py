"""Examples of a task for people: small images with words below, or lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
import torch
from torch import Tensor
from torch.nn import functional as F

from coto_lab.figures.lines import cells_of, line_of
from coto_lab.figures.tiles import TILES, tile_strip
from coto_lab.tasks.task import Example

_PIXELS = 48  # of the longer side of an image; larger ones are made smaller, since a browser gets every pixel as a number


def are_images(examples: Sequence[Example]) -> bool:
    """Whether all of a task's examples have an image; else they are shown as texts."""
    return all(example.image is not None for example in examples)


def kind_of(examples: Sequence[Example]) -> str:
    """What a sentence calls one of them: ``"image"`` or ``"example"``."""
    return "image" if are_images(examples) else "example"


def class_word(classes: Sequence[str]) -> str:
    """What a sentence calls a class: ``"digit"`` where all are, else ``"class"``."""
    return "digit" if classes and all(len(name) == 1 and name.isdecimal() for name in classes) else "class"


class Exhibit(NamedTuple):
    """Examples on a sheet.

    Attributes:
        sheet: the images; of texts, cells that show the whole text under the pointer.
        words: what stands below the images; of texts, the lines.
        x, y: options of the axes; images need axes of one scale.
        middles: of each column of images, the x of its middle.
    """

    sheet: go.Heatmap
    words: go.Scatter
    x: dict[str, Any]
    y: dict[str, Any]
    middles: list[float]


def exhibit(
    examples: Sequence[Example],
    shown: Sequence[int],
    words: Sequence[str],
    shape: tuple[int, int],
    places: Sequence[tuple[int, int]] | None = None,
) -> Exhibit:
    """Some examples on a sheet that is as large with few as with many.

    Args:
        examples: all that a figure may show.
        shown: which of them are shown.
        words: of each of these, what `words_of` makes of a mark.
        shape: rows and columns of the sheet.
        places: row and column of each image; by default they, and texts always, fill row after row.
    """
    rows, columns = shape
    places = [divmod(i, columns) for i in range(len(shown))] if places is None else places
    common = {"mode": "text", "text": list(words), "hoverinfo": "skip"}
    if not are_images(examples):
        sheet = go.Heatmap(cells_of([examples[i] for i in shown], shape))
        at = {"x": [column for _, column in places], "y": [row + 0.5 for row, _ in places]}
        lines = go.Scatter(**at, textposition="middle right", **common)
        y = {"visible": False, "range": [rows, 0], "scaleanchor": None}
        return Exhibit(sheet, lines, {"visible": False, "range": [0, columns]}, y, [])
    images = torch.stack([_small(examples[i]) for i in [*shown, 0]])[:-1]  # the first one tells the size where none is shown
    tiles, middles, below = tile_strip(images, shape, places)
    at = {"x": [middles[column] for _, column in places], "y": [below[row] for row, _ in places]}
    height, width = tiles.shape
    return Exhibit(
        go.Heatmap(z=tiles.numpy(), **TILES),
        go.Scatter(**at, **common),
        {"range": [-0.5, width - 0.5]},
        {"visible": False, "range": [height - 0.5, -0.5], "constrain": "domain"},
        middles,
    )


def _small(example: Example) -> Tensor:
    assert example.image is not None
    scale = _PIXELS / max(example.image.shape[-2:])
    return example.image if scale >= 1 else F.interpolate(example.image[None], scale_factor=scale, mode="area")[0]


def words_of(examples: Sequence[Example], shown: Sequence[int], marks: Sequence[str], answer: bool = True) -> list[str]:
    """What stands with some examples: below images the marks; of texts the lines, with the right answers if they are asked for.

    Args:
        examples: all that a figure may show.
        shown: which of them are shown.
        marks: of each of these.
        answer: whether lines tell the right answer.
    """
    if are_images(examples):
        return list(marks)
    return [line_of(mark, examples[i], answer) for mark, i in zip(marks, shown, strict=True)]
