"""Numbers that readers give as answers."""

from __future__ import annotations

from typing import Any


def as_number(answer: Any) -> float | None:
    """The answer as a float, also from a tensor or an array of one element; None if it is no single number."""
    try:
        return float(answer)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several elements
        return None
