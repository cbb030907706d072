"""Answers of several numbers: taken as a tensor, and compared with what is right and with likely mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def as_numbers(answer: Any, n: int) -> Tensor | None:
    """The answer as float64 ``[n]``, from a tensor, an array, or a list of numbers or of tensors of one element; else None."""
    try:
        numbers = torch.tensor([float(number) for number in answer], dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: an element that is a tensor of several numbers
        return None
    return numbers if len(numbers) == n else None


def mistake(what: str, answer: Tensor, right: Tensor, likely: Mapping[str, Tensor], tolerance: float = 1e-6) -> list[str]:
    """No complaint if the answer is right; else which likely mistake it is, or that it is wrong.

    Args:
        what: the answer's name.
        answer, right: of the same shape.
        likely: sentence about the mistake -> what the answer is then.
        tolerance: how far two numbers may be apart and count as equal.
    """

    def equals(other: Tensor) -> bool:
        return bool((answer - other).abs().max() <= tolerance)

    if equals(right):
        return []
    for sentence, wrong in likely.items():
        if equals(wrong):
            return [f"{what}: {sentence}"]
    if answer.dim() == 0:
        return [f"{what} is not right"]
    at = int((answer - right).abs().argmax())
    return [f"{what}[{at}] = {answer[at]:.4g} is wrong, and it is the one that is furthest off"]
