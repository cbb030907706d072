"""Answers compared with what is right and with likely mistakes; numbers may be rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coto_lab.exercises._numbers import as_number, last_place

Numbers = float | Sequence[float] | Tensor

_COMPUTED = 1e-5  # of the largest number: what different ways to compute the same may differ by
_TYPED = 2e-3  # the same for a mistake that was rounded on the way
_COARSE = 0.15  # an answer that rounding may have moved by more says nothing


def as_numbers(answer: Any, n: int) -> Tensor | None:
    """The answer as float64 ``[n]``, from a tensor, an array, or a list of numbers or of tensors of one element; else None."""
    try:
        numbers = [as_number(number) for number in answer]
    except TypeError:  # not iterable
        return None
    found = [number for number in numbers if number is not None]
    return torch.tensor(found, dtype=torch.float64) if len(found) == len(numbers) == n else None


def mistake(
    what: str, answer: Numbers, right: Numbers, likely: Mapping[str, Numbers], decimals: int = 6, margin: float | None = None
) -> list[str]:
    """No complaint if the answer is right when rounded as the solution prints it; else what is wrong with it.

    A right answer with fewer decimals is told so. One that was computed, and equals a likely mistake, is that mistake, even if
    it rounds to the same.

    Args:
        what: the answer's name.
        answer, right: one number, or several.
        likely: sentence about the mistake -> what the answer is then.
        decimals: with which the solution prints the answer.
        margin: how far from ``right`` an answer may be, where more than rounding is allowed.
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
    return [f"{what}[{at}] = {_shown(numbers[at : at + 1])} is wrong, and it is the one that is furthest off"]


def _tensor(numbers: Numbers) -> Tensor:
    return torch.as_tensor(numbers, dtype=torch.float64).flatten()


def _size(numbers: Tensor) -> float:
    return float(numbers.abs().max())


def _said(what: str, numbers: Tensor, sentence: str) -> str:
    return f"{what} = {_shown(numbers)}: {sentence}" if len(numbers) == 1 else f"{what}: {sentence}"


def _shown(numbers: Tensor) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers.tolist())
