"""Words and numbers in sentences."""

from __future__ import annotations

from coto_lab.tasks import Task


def percent(share: float, digits: int = 0) -> str:
    """A share in percent, such as "10%" for 0.1, rounded to ``digits`` decimals; the result is never "-0%"."""
    return f"{_rounded(100 * share, digits):.{digits}f}%"


def compared(difference: float, other: str) -> str:
    """A difference in percentage points as words, such as ``"3.5 points more than X"`` or ``"as much as X"``."""
    if not (points := _rounded(abs(difference), 1)):
        return f"as much as {other}"
    return f"{points:g} point{'s' * (points != 1)} {'more' if difference > 0 else 'less'} than {other}"


def verb(task: Task) -> str:
    """The verb for what an adapter does with examples: ``"classifies"`` if the task has classes, otherwise ``"answers"``."""
    return "classifies" if task.classes else "answers"


def _rounded(number: float, digits: int) -> float:
    return round(number, digits) + 0.0  # -0.0 + 0.0 is 0.0
