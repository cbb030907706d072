"""Numbers that readers give as answers: taken as they come, and with the decimals with which they were typed."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

_TYPED = 6  # decimals that a reader types at most; more come from a computation


def as_number(answer: Any) -> float | None:
    """The answer as a float, also from a tensor or an array of one element; None if it is no single number."""
    try:
        return float(answer)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several elements
        return None


def last_place(answers: Iterable[float]) -> float:
    """How far rounding may have moved these answers: half a unit of their last decimal; 0 if they were computed."""
    decimals = max(-int(Decimal(repr(answer)).normalize().as_tuple().exponent) for answer in answers)
    return 0.5 * 10.0 ** -max(decimals, 0) if decimals <= _TYPED else 0.0
