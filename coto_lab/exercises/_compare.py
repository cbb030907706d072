"""The comparison of answers with right numbers and with likely mistakes; answers may be rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coto_lab.exercises._numbers import as_number, last_place

Numbers = float | Sequence[float] | Tensor

# All three are shares of the largest number.
_COMPUTED = 1e-5  # tolerance between different ways to compute the same number
_TYPED = 2e-3  # tolerance for a mistake that contains rounded numbers
_COARSE = 0.15  # an answer with a larger rounding error is too coarse to be compared


def as_numbers(answer: Any, n: int) -> Tensor | None:
    """The answer as float64 ``[n]``, from a tensor, an array, or a list of numbers or of tensors of one element; or None."""
    try:
        numbers = [as_number(number) for number in answer]
    except TypeError:  # not iterable
        return None
    found = [number for number in numbers if number is not None]
    return torch.tensor(found, dtype=torch.float64) if len(found) == len(numbers) == n else None


def mistake(
    what: str, answer: Numbers, right: Numbers, likely: Mapping[str, Numbers], decimals: int = 6, margin: float | None = None
) -> list[str]:
    """Complaints about a wrong answer; no complaint if the answer is right when rounded as the solution prints it.

    A right answer with too few decimals gets the complaint that it needs one more. A computed answer that equals a likely
    mistake counts as this mistake, even if it rounds to the right number.

    Args:
        what: the answer's name.
        answer, right: one number, or several.
        likely: sentence about a mistake -> the answer that follows from the mistake.
        decimals: the number of decimals with which the solution prints the answer.
        margin: the allowed distance from ``right``, if more than rounding is allowed.
    """
    numbers, truth = _tensor(answer), _tensor(right)
    wrongs = {sentence: _tensor(wrong) for sentence, wrong in likely.items()}
    if not numbers.isfinite().all():
        return [f"{what} = {_shown(numbers)} is not finite"]
    rounded, tolerance = last_place(numbers.tolist()), 0.5 * 10.0**-decimals if margin is None else margin

    def equals(other: Tensor, tolerance: float) -> bool:
        return bool((numbers - other).abs().max() <= tolerance * (1 + 1e-6) + 1e-12)

    def coarse(other: Tensor) -> float:
        return rounded if rounded <= _COARSE * _size(other) else 0.0

    if rounded == 0 and not equals(truth, _COMPUTED * _size(truth)):
        for sentence, wrong in wrongs.items():
            if equals(wrong, _COMPUTED * _size(wrong)):
                return [_said(what, numbers, sentence)]
    if equals(truth, tolerance):
        return []
    if equals(truth, coarse(truth)):
        return [f"{what} is right so far: give one more decimal"]
    for sentence, wrong in wrongs.items():
        if equals(wrong, max(_TYPED * _size(wrong), coarse(wrong))):
            return [_said(what, numbers, sentence)]
    if len(numbers) == 1:
        return [f"{what} = {_shown(numbers)} is not right"]
    at = int((numbers - truth).abs().argmax())
    return [f"{what}[{at}] = {_shown(numbers[at : at + 1])} is wrong, and it is the number that is furthest off"]


def _tensor(numbers: Numbers) -> Tensor:
    return torch.as_tensor(numbers, dtype=torch.float64).flatten()


def _size(numbers: Tensor) -> float:
    return float(numbers.abs().max())


def _said(what: str, numbers: Tensor, sentence: str) -> str:
    return f"{what} = {_shown(numbers)}: {sentence}" if len(numbers) == 1 else f"{what}: {sentence}"


def _shown(numbers: Tensor) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers.tolist())
