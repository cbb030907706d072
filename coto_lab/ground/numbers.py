"""Numbers that come from outside, NumPy's included, as Python's own: they compare, print and store alike."""

from __future__ import annotations

import math
from numbers import Integral, Real

MAX_SEED = 2**63 - 1  # the largest that every generator in use takes


def whole_number(name: str, value: object, least: int, most: int | None = None) -> int:
    """``value`` as an int.

    Raises:
        ValueError: it is no whole number from ``least`` to ``most``; ``name`` is named.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or (number := int(value)) < least or (most is not None and number > most):  # type: ignore[call-overload]
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}={value!r}: must be a whole number, {limits}.")
    return number


def real_number(name: str, value: object) -> float:
    """``value`` as a float, infinity and NaN included.

    Raises:
        ValueError: it is no number; ``name`` is named.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name}={value!r}: must be a number.")
    return float(value)


def finite_number(name: str, value: object) -> float:
    """``value`` as a float.

    Raises:
        ValueError: it is no finite number; ``name`` is named.
    """
    number = real_number(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name}={value!r}: must be a finite number.")
    return number
