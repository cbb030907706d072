"""Text examples with the model's own answers: lines in columns, in which each wrong character is marked."""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import groupby, zip_longest

from coto_lab.figures.lines import cut, fitting, width
from coto_lab.figures.theme import INK, magnification
from coto_lab.figures.tiles import WRONG
from coto_lab.tasks.task import Example

ANSWERED = "text → answer (right answer), wrong characters underlined"  # a title above such lines
_ROOM = 36  # letters of one width in half of a figure of 640 pixels, which is the narrowest figure, at the normal size
_GAP, _ARROW = "  ", " → "
_MISSING = "·"  # stands for a character that the answer lacks


def answered_lines(marks: Sequence[str], examples: Sequence[Example], said: Sequence[str]) -> list[str]:
    """Lines of a mark, the text and the model's answer, in columns; a wrong answer is followed by (the right one).

    The columns need a font whose letters have one width. A text is cut to a third of the room if need be. If there is no room
    for right answers even then, the lines do without them.

    Args:
        marks: one mark for each example, all of the same length.
        examples: the examples, one for each line.
        said: the model's answer to each.
    """
    room = int(_ROOM / magnification()) - max(map(len, marks), default=0) - len(_GAP + _ARROW)
    column = max((width(text) for text in (*said, *(example.answer for example in examples))), default=0)
    least = min(max((width(example.text) for example in examples), default=0), room // 3)
    behind = len(" ()") + column
    both = least + column + behind <= room
    column = min(column, room - least)
    texts = [cut(example.text, room - column - both * behind) for example in examples]
    widest = max(map(width, texts), default=0)
    lines = []
    for mark, text, example, own in zip(marks, texts, examples, said, strict=True):
        line = f"{_GAP}{_plain(text)}{' ' * (widest - width(text))}{_ARROW}{marked(own, example.answer, column)}"
        if own == example.answer:
            lines.append(mark + line)
        else:
            right = f' <span style="color:{INK}">({_plain(cut(example.answer, column))})</span>' if both else ""
            lines.append(f'<span style="color:{WRONG}">{mark}</span>{line}{right}')
    return [line.rstrip() for line in lines]


def marked(said: str, right: str, room: int) -> str:
    """An answer as HTML, in which each character that is not the right one at its place is coloured, bold and underlined.

    A character that is missing is shown as ``·``. If the answer is cut, the ellipsis is marked where the rest has a mistake; if
    it is shorter than the room, spaces follow.

    Args:
        said: the answer.
        right: the right answer.
        room: the number of letters.
    """
    letters = [(own or _MISSING, own != other) for own, other in zip_longest(said, right)]
    text = "".join(" " if letter.isspace() else letter for letter, _ in letters)  # one for one, so that the places stay
    wrong = [is_wrong for _, is_wrong in letters]
    kept = fitting(text, room)
    if kept < len(text):
        text, wrong = f"{text[:kept]}…", [*wrong[:kept], any(wrong[kept:])]
    parts = []
    for is_wrong, group in groupby(zip(text, wrong, strict=True), key=lambda pair: pair[1]):
        part = _plain("".join(letter for letter, _ in group))
        parts.append(f'<span style="color:{WRONG}"><b><u>{part}</u></b></span>' if is_wrong else part)
    return "".join(parts) + " " * (room - width(text))


def _plain(text: str) -> str:
    return html.escape(text, quote=False)
