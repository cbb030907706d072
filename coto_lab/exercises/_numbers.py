"""Numbers that readers give as answers, in any type and with any number of decimals."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

_TYPED = 6  # a reader types at most this many decimals; numbers with more decimals were computed


def as_number(answer: Any) -> float | None:
    """The answer as a float, also from a tensor or an array of one element; None if it is not a single number."""
    try:
        return float(answer)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several elements
        return None


def last_place(answers: Iterable[float]) -> float:
    """The largest possible rounding error of these answers: half a unit of their last decimal; 0 if they were computed."""
    decimals = max(-int(Decimal(repr(answer)).normalize().as_tuple().exponent) for answer in answers)
    return 0.5 * 10.0 ** -max(decimals, 0) if decimals <= _TYPED else 0.0
