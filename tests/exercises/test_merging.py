"""The checks find what readers do wrong, and let through what is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from coto_lab.exercises import merging as exercises

check_ties = exercises.check_ties.__wrapped__  # what they find, before it is printed
check_cross_terms = exercises.check_cross_terms.__wrapped__
check_mix = exercises.check_mix.__wrapped__

UPDATES = torch.tensor(
    [
        [[4.0, -1.0, 0.5, -6.0], [2.0, 5.0, -0.5, 1.0], [-3.0, 0.25, 7.0, -0.75]],
        [[6.0, 3.0, -0.5, 2.0], [-1.0, -4.0, 0.75, 5.0], [-5.0, 0.5, 1.5, 0.25]],
    ]
)
RIGHT = [[5, 3, 0, -6], [2, 5, 0, 5], [-4, 0, 7, 0]]
WRONG_TIES = {
    "nothing was trimmed": [[5, 3, 0.5, -6], [2, 5, 0.75, 3], [-4, 0.375, 4.25, -0.75]],
    "whatever their sign": [[5, 1.5, 0, -2], [1, 0.5, 0, 2.5], [-4, 0, 3.5, 0]],
    "the mean of all entries that were kept": [[5, 3, 0, -2], [2, 0.5, 0, 5], [-4, 0, 7, 0]],
    "this is a sum": [[10, 3, 0, -6], [2, 5, 0, 5], [-8, 0, 7, 0]],
    "every entry was divided by 2": [[5, 1.5, 0, -3], [1, 2.5, 0, 2.5], [-4, 0, 3.5, 0]],
    "the other sign was elected": [[0, 0, 0, 2], [0, -4, 0, 0], [0, 0, 0, 0]],
    "furthest off": [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    "3 rows of 4 numbers": [[5, 3, 0, -6], [2, 5, 0, 5]],
}


def test_ties_by_hand() -> None:
    assert check_ties(RIGHT, UPDATES) == check_ties(torch.tensor(RIGHT), UPDATES) == []
    for complaint, answer in WRONG_TIES.items():
        (found,) = check_ties(answer, UPDATES)
        assert complaint in found, complaint
    for odd in (3.0, [1, 2, 3], "three"):
        assert "a list of lists" in check_ties(odd, UPDATES)[0]


def fused(a: Sequence[Tensor], b: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    return sum(w * x for w, x in zip(weights, b, strict=True)) @ sum(w * x for w, x in zip(weights, a, strict=True))


def own(a: Sequence[Tensor], b: Sequence[Tensor], weights: Sequence[float], power: int = 2) -> Tensor:
    return sum(w**power * y @ x for w, x, y in zip(weights, a, b, strict=True))


def some(a: Sequence[Tensor], b: Sequence[Tensor], weights: Sequence[float], wanted: Callable[[int, int], bool]) -> Tensor:
    n = range(len(a))
    return sum(weights[i] * weights[j] * b[i] @ a[j] for i in n for j in n if wanted(i, j))


WRONG_TERMS = {
    "this is the whole fusion": fused,
    "these are the own updates": own,
    "in a fusion they have w²": lambda a, b, w: fused(a, b, w) - own(a, b, w, 1),
    "only one half": lambda a, b, w: some(a, b, w, lambda i, j: i < j),
    "the weights are missing": lambda a, b, w: some(a, b, [1.0] * len(w), lambda i, j: i != j),
    "the sign is wrong": lambda a, b, w: own(a, b, w) - fused(a, b, w),
    "leave out the terms with twice the same i": lambda a, b, w: torch.zeros_like(fused(a, b, w)),
    "a float; it should return a tensor [3, 4]": lambda a, b, w: 0.5,
    "a tensor [2, 4]; it should return": lambda a, b, w: a[0],
}


def test_the_cross_terms() -> None:
    generator = torch.Generator().manual_seed(1)
    factors = [(torch.randn(4, 8, generator=generator), torch.randn(6, 4, generator=generator)) for _ in range(6)]
    assert check_cross_terms(lambda a, b, w: fused(a, b, w) - own(a, b, w), factors) == []
    assert check_cross_terms(lambda a, b, w: some(a, b, w, lambda i, j: i != j), factors) == []
    for complaint, answer in WRONG_TERMS.items():
        (found,) = check_cross_terms(answer, factors)
        assert complaint in found, complaint


def test_a_function_for_three_adapters_alone_is_told_what_it_raises(capsys: pytest.CaptureFixture[str]) -> None:
    def three(a: Sequence[Tensor], b: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        (one, two, _), (first, second, _) = a, b
        return first @ two + second @ one

    exercises.check_cross_terms(three, [(torch.ones(1, 2), torch.ones(2, 1))] * 2)
    assert "✗" in capsys.readouterr().out


class Desk:
    """Scores that rise with the faders."""

    faders = dict.fromkeys(("a", "b"))

    def score(self, faders: Sequence[float]) -> dict[str, float]:
        return {"a": 100 * faders[0], "b": 100 * faders[1]}


def test_a_mix() -> None:
    assert check_mix([0.6, 0.7], Desk(), ["a", "b"], 50) == check_mix([0.6, 0], Desk(), ["a"], 50) == []
    assert check_mix([0.6, 0.4], Desk(), ["a", "b"], 50) == ["b: 40.0% is not above 50%"]
    assert check_mix([0.5, 0.4], Desk(), ["a", "b"], 50) == ["a: 50.0% is not above 50%", "b: 40.0% is not above 50%"]
    for odd in ([0.6], 0.6, "ab", [0.6, None]):
        assert check_mix(odd, Desk(), ["a", "b"], 50) == ["my_faders should be 2 numbers, one for each of a, b"]
