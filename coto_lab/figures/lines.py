"""Text examples as lines that are cut to half the width of a figure; the whole text appears under the pointer."""

from __future__ import annotations

import html
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

from coto_lab.tasks.task import Example

_ROOM = 38  # letters in half of a figure of 640 pixels, which is the narrowest figure
_BOX = 80  # letters in a line of the box that appears under the pointer
_CLEAR = "rgba(0, 0, 0, 0)"
CELLS = {  # options of an invisible heat map whose cells react to the pointer
    "showscale": False,
    "colorscale": [[0, _CLEAR], [1, _CLEAR]],
    "hovertemplate": "%{text}<extra></extra>",
    "hoverongaps": False,
    "hoverlabel": {"align": "left"},
}


def line_of(mark: str, example: Example, answer: bool = True) -> str:
    """A line of a mark, the text and, with ``answer``, the right answer; it is cut to the room."""
    mark = f"{mark}  " if mark else ""
    room = _ROOM - len(mark)
    right = f" → {cut(example.answer, room // 3)}" if answer else ""
    return html.escape(f"{mark}{cut(example.text, room - len(right))}{right}", quote=False)


def whole(example: Example) -> str:
    """The whole text and the right answer."""
    lines = [line for text in example.text.splitlines() for line in textwrap.wrap(text, _BOX) or [""]]
    lines += textwrap.wrap(f"right answer: {example.answer}", _BOX)
    return "<br>".join(html.escape(line, quote=False) for line in lines)


def cut(text: str, room: int) -> str:
    """``text`` on one line of at most ``room`` letters; a wide letter (Chinese, Japanese, Korean) counts as two."""
    text = " ".join(text.split())
    widths = [2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text]
    if sum(widths) <= room:
        return text
    kept, used = 0, 1  # the ellipsis uses the room of one letter
    while used + widths[kept] <= room:
        used += widths[kept]
        kept += 1
    return f"{text[:kept].rstrip()}…"


def cells_of(examples: Sequence[Example], shape: tuple[int, int]) -> dict[str, Any]:
    """Options of a heat map with one cell of size 1 for each example, row after row; a cell has the whole text.

    Args:
        examples: at most as many as there are cells.
        shape: the numbers of rows and columns.
    """
    rows, columns = shape
    texts = [[""] * columns for _ in range(rows)]
    filled: list[list[int | None]] = [[None] * columns for _ in range(rows)]
    for i, example in enumerate(examples):
        row, column = divmod(i, columns)
        texts[row][column], filled[row][column] = whole(example), 0
    middles = {"x": [column + 0.5 for column in range(columns)], "y": [row + 0.5 for row in range(rows)]}
    return CELLS | middles | {"z": filled, "text": texts}
