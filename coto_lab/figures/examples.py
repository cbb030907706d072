"""Examples of a task as small images with words below, or as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
import torch
from torch import Tensor
from torch.nn import functional as F

from coto_lab.figures.answers import answered_lines
from coto_lab.figures.lines import ONE_WIDTH, cells_of, line_of
from coto_lab.figures.theme import INK
from coto_lab.figures.tiles import TILES, WRONG, tile_strip
from coto_lab.tasks.task import Example

_PIXELS = 48  # pixels of the longer side; larger images are reduced, because a browser gets every pixel as a number


def are_images(examples: Sequence[Example]) -> bool:
    """Whether all examples have an image; otherwise they are shown as texts."""
    return all(example.image is not None for example in examples)


def kind_of(examples: Sequence[Example]) -> str:
    """The word for one of these examples: ``"image"`` or ``"example"``."""
    return "image" if are_images(examples) else "example"


def class_word(classes: Sequence[str]) -> str:
    """The word for a class: ``"digit"`` if all classes are digits, otherwise ``"class"``."""
    return "digit" if classes and all(len(name) == 1 and name.isdecimal() for name in classes) else "class"


class Exhibit(NamedTuple):
    """Examples on a sheet.

    Attributes:
        sheet: the images; or, for texts, cells that show the whole text under the pointer.
        words: the words below the images; or, for texts, the lines.
        x, y: options of the axes; images need axes with the same scale.
        middles: the x of the middle of each column of images.
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
    said: Mapping[str, Sequence[str]] | None = None,
) -> Exhibit:
    """Some examples on a sheet whose size does not depend on the number of examples.

    Args:
        examples: all examples that a figure may show.
        shown: indices of the examples that are shown.
        words: the words for each shown example, made by `words_of`.
        shape: the numbers of rows and columns of the sheet.
        places: row and column of each image; by default images fill row after row, and texts always do.
        said: who answers -> the answer to each shown example, for the box under the pointer of a text.
    """
    rows, columns = shape
    places = [divmod(i, columns) for i in range(len(shown))] if places is None else places
    common = {"mode": "text", "text": list(words), "hoverinfo": "skip"}
    if not are_images(examples):
        sheet = go.Heatmap(cells_of([examples[i] for i in shown], shape, said))
        at = {"x": [column for _, column in places], "y": [row + 0.5 for row, _ in places]}
        lines = go.Scatter(**at, textposition="middle right", **common)
        y = {"visible": False, "range": [rows, 0], "scaleanchor": None}
        return Exhibit(sheet, lines, {"visible": False, "range": [0, columns]}, y, [])
    images = torch.stack([_small(examples[i]) for i in [*shown, 0]])[:-1]  # example 0 gives the size if none is shown
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


def words_of(
    examples: Sequence[Example],
    shown: Sequence[int],
    marks: Sequence[str],
    answer: bool = True,
    said: Sequence[str] | None = None,
) -> list[str]:
    """The words for some examples: for images the marks; for texts lines of mark and text, and of the answer if asked for.

    Args:
        examples: all examples that a figure may show.
        shown: indices of the examples that are shown.
        marks: one mark for each shown example.
        answer: whether the lines include the right answer.
        said: the model's answer to each shown example; with it, lines of text are those of `answered_lines`.
    """
    if are_images(examples):
        return list(marks)
    if said is not None:
        return answered_lines(marks, [examples[i] for i in shown], said)
    return [line_of(mark, examples[i], answer) for mark, i in zip(marks, shown, strict=True)]


def font_of(right: Sequence[bool], said: Sequence[str] | None = None) -> dict[str, Any]:
    """The font of the words of `words_of`: one colour for right and one for wrong ones, or, where the model's answers are in
    the lines, which mark what is wrong themselves, letters of one width.

    Args:
        right: whether each shown example is answered correctly.
        said: as in `words_of`.
    """
    if said is None:
        return {"color": [INK if ok else WRONG for ok in right], "family": None}
    return {"color": INK, "family": ONE_WIDTH}
