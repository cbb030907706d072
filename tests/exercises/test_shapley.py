"""The checks of the notebook on Shapley values let right answers through, and name what is wrong with others."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from torch import Tensor

from coto_lab.exercises import shapley

check_by_orders, check_alone_and_last, check_c = (
    check.__wrapped__ for check in (shapley.check_by_orders, shapley.check_alone_and_last, shapley.check_c)
)

GLOVES = torch.tensor([0.0, 0, 0, 6, 0, 6, 0, 6])
WORTHS = torch.randint(400, (256,), generator=torch.Generator().manual_seed(3)).double() / 400
BITS = 2 ** torch.arange(8)


def by_orders(v: Tensor, n: int) -> Tensor:
    sums = torch.zeros(n, dtype=torch.float64)
    for order in permutations(range(n)):
        before = 0
        for player in order:
            sums[player] += v[before + 2**player] - v[before]
            before += 2**player
    return sums / math.factorial(n)


def test_the_mean_over_all_orders_passes() -> None:
    assert check_by_orders(by_orders, GLOVES) == []
    assert check_by_orders(lambda v, n: by_orders(v, n).tolist(), GLOVES) == []


ORDERS: dict[str, Callable[[Tensor, int], object]] = {
    "these are sums over the orders": lambda v, n: by_orders(v, n) * math.factorial(n),
    "these sums are divided by n": lambda v, n: by_orders(v, n) * math.factorial(n) / n,
    "every player joins the empty coalition": lambda v, n: v[2 ** torch.arange(n)] - v[0],
    "as the last one": lambda v, n: v[-1] - v[2**n - 1 - 2 ** torch.arange(n)],
    "the sign is wrong": lambda v, n: -by_orders(v, n),
    "the numbers add up to 12, and all 3 players together earn 6": lambda v, n: 2 * by_orders(v, n),
    "furthest off": lambda v, n: torch.full((n,), (v[-1] - v[0]).item() / n),
    "should return 3 numbers": lambda v, n: 6,
    "is there a return?": lambda v, n: None,
}


@pytest.mark.parametrize("complaint", ORDERS)
def test_what_is_wrong_with_the_orders_is_named(complaint: str) -> None:
    (found,) = check_by_orders(ORDERS[complaint], GLOVES)
    assert complaint in found


def test_a_game_that_gloves_cannot_tell_apart_is_tried_too() -> None:
    (found,) = check_by_orders(lambda v, n: [4, 1, 1], GLOVES)
    assert found == "in another game, of four players: by_orders should return 4 numbers, one for each player"
    (found,) = check_by_orders(lambda v, n: torch.tensor([4.0, 1, 1]) if n == 3 else torch.ones(n) / n, GLOVES)
    assert found.startswith("in another game, of four players: by_orders[")


ALONE, LAST = 100 * (WORTHS[BITS] - WORTHS[0]), 100 * (WORTHS[255] - WORTHS[255 - BITS])


def test_alone_and_last_pass() -> None:
    assert check_alone_and_last(ALONE, LAST, WORTHS) == []
    assert check_alone_and_last([round(a, 1) for a in ALONE.tolist()], list(LAST), WORTHS) == []


@pytest.mark.parametrize(
    ("alone", "last", "complaints"),
    [
        (ALONE / 100, LAST / 100, ["alone: these are shares", "last: these are shares"]),
        (LAST, ALONE, ["what the block adds as the last one", "what the block adds alone"]),
        (
            100 * WORTHS[BITS],
            100 * WORTHS[255 - BITS],
            ["subtract the accuracy without any block", "subtract it from the accuracy of all blocks"],
        ),
        (-ALONE, -LAST, ["alone: the sign", "last: the sign"]),
        (ALONE[0], None, ["alone should be 8 numbers", "last should be 8 numbers"]),
        (ALONE, LAST + (torch.arange(8) == 2), ["last[2] = 4.75 is wrong"]),
    ],
)
def test_what_is_wrong_with_alone_and_last_is_named(alone: object, last: object, complaints: list[str]) -> None:
    found = check_alone_and_last(alone, last, WORTHS)
    assert [complaint in said for complaint, said in zip(complaints, found, strict=True)] == [True] * len(found)


def summed(term: Callable[[float, Tensor, Tensor, Tensor], Tensor]) -> Callable[[int, float, Tensor], Tensor]:
    """c from one coalition's term, which gets p, |S|, and v with and without the player."""

    def c(i: int, p: float, v: Tensor) -> Tensor:
        index = torch.arange(256)
        without = index[(index >> i & 1) == 0]
        size = (without[:, None] >> torch.arange(8) & 1).sum(1)
        return term(p, size, v[without + 2**i], v[without]).sum()

    return c


right = summed(lambda p, k, more, less: p**k * (1 - p) ** (7 - k) * (more - less))


def test_owens_formula_passes() -> None:
    assert check_c(right, WORTHS) == []
    assert check_c(lambda i, p, v: right(i, p, v).item(), WORTHS) == []


C: dict[str, Callable[[int, float, Tensor], object]] = {
    "p and 1 - p are swapped": summed(lambda p, k, more, less: (1 - p) ** k * p ** (7 - k) * (more - less)),
    "it is n - 1 - |S|": summed(lambda p, k, more, less: p**k * (1 - p) ** (8 - k) * (more - less)),
    "the factor (1 - p)": summed(lambda p, k, more, less: p**k * (more - less)),
    "the factor p ** |S|": summed(lambda p, k, more, less: (1 - p) ** (7 - k) * (more - less)),
    "without their probabilities": summed(lambda p, k, more, less: more - less),
    "the mean gain": summed(lambda p, k, more, less: (more - less) / 128),
    "not the sum of the formula": summed(lambda p, k, more, less: p**k * (1 - p) ** (7 - k) * more),
    "c should return one number": lambda i, p, v: None,
    "not the Shapley value of block 2": lambda i, p, v: right(i, p, v) + (i == 2),
}


@pytest.mark.parametrize("complaint", C)
def test_what_is_wrong_with_c_is_named(complaint: str) -> None:
    (found,) = check_c(C[complaint], WORTHS)
    assert complaint in found
