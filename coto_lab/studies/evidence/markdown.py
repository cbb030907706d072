"""Numbers as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence

from coto_lab.studies.evidence.records import Numbers
from coto_lab.studies.legs import DIGITS

NOT_MEASURED = "–"


def spread(summary: Numbers, digits: int = 1) -> str:
    """Mean and standard deviation, such as ``93.1 ± 0.9``."""
    return f"{summary['mean']:.{digits}f} ± {summary['sd']:.{digits}f}"


def interval(difference: Numbers, digits: int = 1) -> str:
    """Mean and interval, such as ``+5.6 [+4.1, +7.2]``."""
    mean, low, high = (f"{difference[key]:+.{digits}f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A table; the first ``texts`` columns are text, the others are centred."""
    lines = [header, ["---"] * texts + [":---:"] * (len(header) - texts), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def method_table(columns: Mapping[str, Mapping[str, Numbers]], digits: int = 1) -> str:
    """A table with a row per method. A cell has ``mean ± sd`` and below it the difference to LoRA with its interval.

    Args:
        columns: title of a column -> method -> summary, as `against_lora` makes them. The first one has all methods.
        digits: the number of digits after the point.
    """
    methods = next(iter(columns.values()))
    rows = [[method, *[_cell(column.get(method), digits) for column in columns.values()]] for method in methods]
    return table(["", *columns], rows)


def _cell(summary: Numbers | None, digits: int) -> str:
    if summary is None:
        return NOT_MEASURED
    difference = summary.get("difference")
    return spread(summary, digits) + (f"<br>{interval(difference, digits)}" if difference else "")


def wrapped(text: str) -> str:
    """The page with its paragraphs wrapped to one line length; tables, headings, lists and images are not changed."""
    parts = text.strip().split("\n\n")
    fill = textwrap.TextWrapper(width=128, break_long_words=False, break_on_hyphens=False).fill
    return "\n\n".join(part if part.startswith(("|", "#", "- ", "!")) else fill(part) for part in parts) + "\n"


def figure_name(leg: str, name: str) -> str:
    """The name of a figure's file: ``"pruning"`` for the digits, ``"strings_pruning"`` for the strings."""
    return name if leg == DIGITS.name else f"{leg}_{name}"


def figure(leg: str, name: str, text: str) -> str:
    """An image of the page; ``text`` says what the image shows."""
    return f"![{text}](data/evidence/{figure_name(leg, name)}.png)"


def on_each(legs: Mapping[str, Numbers], part: Callable[[str, Numbers], str]) -> str:
    """The same part of a section for each leg, under the leg's name.

    Args:
        legs: name of a leg -> its numbers.
        part: makes the Markdown from the leg's name and numbers.
    """
    return "\n\n".join(f"On the {leg}:\n\n{part(leg, numbers).strip()}" for leg, numbers in legs.items())
