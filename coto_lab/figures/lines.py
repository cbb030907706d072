"""Text examples as lines that are cut to half the width of a figure; the whole text appears under the pointer."""

from __future__ import annotations

import html
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from coto_lab.figures.theme import magnification
from coto_lab.tasks.task import Example

_ROOM = 38  # letters in half of a figure of 640 pixels, which is the narrowest figure, at the normal size
_BOX = 80  # letters in a line of the box that appears under the pointer
_CLEAR = "rgba(0, 0, 0, 0)"
ONE_WIDTH = "Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"  # fonts in which all letters are equally wide
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
    room = int(_ROOM / magnification()) - len(mark)
    right = f" → {cut(example.answer, room // 3)}" if answer else ""
    return html.escape(f"{mark}{cut(example.text, room - len(right))}{right}", quote=False)


def whole(example: Example, said: Mapping[str, str] | None = None) -> str:
    """The whole text, what was said to it, and the right answer.

    Args:
        example: the example.
        said: who says it -> the answer; the answers stand below each other, for letters of one width.
    """
    answers = {**(said or {}), "right answer": example.answer}
    widest = max(map(len, answers))
    lines = [line for text in example.text.splitlines() for line in textwrap.wrap(text, _BOX) or [""]]
    for who, answer in answers.items():
        start = f"{who}:".ljust(widest + 2)
        lines += textwrap.wrap(answer, _BOX, initial_indent=start, subsequent_indent=" " * len(start)) or [start]
    return "<br>".join(html.escape(line, quote=False) for line in lines)


def cut(text: str, room: int) -> str:
    """``text`` on one line of at most ``room`` letters; a wide letter (Chinese, Japanese, Korean) counts as two."""
    text = " ".join(text.split())
    kept = fitting(text, room)
    return text if kept == len(text) else f"{text[:kept].rstrip()}…"


def fitting(text: str, room: int) -> int:
    """How many letters of ``text`` fit into the room: all of it, or as many as leave room for an ellipsis."""
    if width(text) <= room:
        return len(text)
    kept, used = 0, 1  # the ellipsis uses the room of one letter
    while used + width(text[kept]) <= room:
        used += width(text[kept])
        kept += 1
    return kept


def width(text: str) -> int:
    """The room that a text takes, in letters; a wide letter counts as two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def cells_of(
    examples: Sequence[Example], shape: tuple[int, int], said: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Options of a heat map with one cell of size 1 for each example, row after row; a cell has the whole text.

    Args:
        examples: at most as many as there are cells.
        shape: the numbers of rows and columns.
        said: who answers -> the answer to each example.
    """
    rows, columns = shape
    texts = [[""] * columns for _ in range(rows)]
    filled: list[list[int | None]] = [[None] * columns for _ in range(rows)]
    for i, example in enumerate(examples):
        row, column = divmod(i, columns)
        texts[row][column] = whole(example, {who: answers[i] for who, answers in (said or {}).items()})
        filled[row][column] = 0
    middles = {"x": [column + 0.5 for column in range(columns)], "y": [row + 0.5 for row in range(rows)]}
    box = {"hoverlabel": {"align": "left", "font": {"family": ONE_WIDTH}}} if said else {}
    return CELLS | box | middles | {"z": filled, "text": texts}
