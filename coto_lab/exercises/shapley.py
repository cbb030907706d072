"""The exercises of the notebook on Shapley values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coto_lab.exercises._compare import as_numbers, mistake
from coto_lab.exercises._exercise import exercise
from coto_lab.probes.shapley import exact_shapley
from coto_lab.probes.shapley_from_training import expected_marginals


@exercise("Averaged over all orders, these are the Shapley values.")
def check_by_orders(by_orders: Callable[[Tensor, int], Any], worths: Tensor) -> list[str]:
    """Check Shapley values made from all orders of the players.

    Args:
        by_orders: called as ``by_orders(worths, n)``; returns n numbers.
        worths: v of all coalitions of the notebook's game, ``[2^n]``; a game of four players is tried too.
    """
    if complaints := _check_game(by_orders, worths.double()):
        return complaints
    four = torch.rand(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return [f"in another game, of four players: {said}" for said in _check_game(by_orders, four - four[0])]


def _check_game(by_orders: Callable[[Tensor, int], Any], game: Tensor) -> list[str]:
    n = len(game).bit_length() - 1
    found = by_orders(game.clone(), n)
    if found is None:
        return ["by_orders returns None: is there a return?"]
    numbers = as_numbers(found, n)
    if numbers is None:
        return [f"by_orders should return {n} numbers, one for each player"]
    right, bits = exact_shapley(game), 2 ** torch.arange(n)
    likely = {
        "these are sums over the orders: divide by their number, n!": right * math.factorial(n),
        "these sums are divided by n: divide by the number of orders, n!": right * math.factorial(n) / n,
        "every player joins the empty coalition: a player has to join those who came before it": game[bits] - game[0],
        "this is what each player adds as the last one: go through the orders": game[-1] - game[2**n - 1 - bits],
        "the sign is wrong: a contribution is v with the player minus v without it": -right,
    }
    complaints = mistake("by_orders", numbers, right, likely)
    if complaints and abs(numbers.sum() - game[-1] + game[0]) >= 1e-6:
        total = f"the numbers add up to {numbers.sum():.4g}, and all {n} players together earn {game[-1] - game[0]:.4g}"
        return [f"{complaints[0]}; {total}"]
    return complaints


@exercise("This is what each block adds alone, and what it adds as the last one.", answers=2)
def check_alone_and_last(alone: Any, last: Any, worths: Tensor) -> list[str]:
    """Check the marginal contributions to nobody and to all others, in percentage points.

    Args:
        alone, last: the answers, n numbers each.
        worths: v of all coalitions as shares of right answers, ``[2^n]``.
    """
    n = len(worths).bit_length() - 1
    v, bits = 100 * worths.double(), 2 ** torch.arange(n)
    with_one, without_one = v[bits], v[2**n - 1 - bits]
    to_nobody, to_others = with_one - v[0], v[-1] - without_one
    likely_alone = {
        "these are shares: points are 100 times as many": to_nobody / 100,
        "this is the accuracy with the block alone: subtract the accuracy without any block, worths[0]": with_one,
        "this is what the block adds as the last one": to_others,
        "the sign is wrong": -to_nobody,
    }
    likely_last = {
        "these are shares: points are 100 times as many": to_others / 100,
        "this is the accuracy without the block: subtract it from the accuracy of all blocks, worths[255]": without_one,
        "this is what the block adds alone": to_nobody,
        "the sign is wrong": -to_others,
    }
    complaints = []
    for what, answer, right, likely in (
        ("alone", alone, to_nobody, likely_alone),
        ("last", last, to_others, likely_last),
    ):
        numbers = as_numbers(answer, n)
        if numbers is None:
            complaints.append(f"{what} should be {n} numbers, one for each block")
        else:
            complaints += mistake(what, numbers, right, likely, decimals=1)
    return complaints


@exercise("This is c_i(p), and its mean over p, taken with 8 Gauss-Legendre nodes, is the Shapley value of every block.")
def check_c(c: Callable[[int, float, Tensor], Any], worths: Tensor) -> list[str]:
    """Check the c_i(p) of Owen's formula.

    Args:
        c: called as ``c(i, p, worths)``; returns one number.
        worths: v of all coalitions of the run, ``[2^n]``.
    """
    n = len(worths).bit_length() - 1
    game = torch.rand(2**n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # no two worths are equal
    size, index = (torch.arange(2**n)[:, None] >> torch.arange(n) & 1).sum(1), torch.arange(2**n)
    for i, p in ((0, 0.3), (n - 1, 0.8)):
        found = as_numbers([c(i, p, game)], 1)
        if found is None:
            return ["c should return one number: sum over the coalitions, and return the sum"]
        without = index[(index >> i & 1) == 0]
        gain, k = game[without + 2**i] - game[without], size[without]
        right = expected_marginals(game, torch.tensor([p]))[i]
        likely = {
            "p and 1 - p are swapped: the players in S are present": (p ** (n - 1 - k) * (1 - p) ** k * gain).sum(),
            f"the exponent of 1 - p is n - |S|: player {i} itself is not counted, so it is n - 1 - |S|": right * (1 - p),
            "the factor (1 - p) ** (n - 1 - |S|) is missing": (p**k * gain).sum(),
            "the factor p ** |S| is missing": ((1 - p) ** (n - 1 - k) * gain).sum(),
            "the gains are summed without their probabilities": gain.sum(),
            "this is the mean gain over all coalitions: weight each by its probability": gain.mean(),
        }
        named = {sentence: wrong.reshape(1) for sentence, wrong in likely.items()}
        if mistake(f"c({i}, {p})", found, right, named):
            said = next((s for s, wrong in named.items() if torch.allclose(found, wrong)), "this is not the sum of the formula")
            return [f"c({i}, {p}, ...): {said}"]
    nodes, weights = np.polynomial.legendre.leggauss(n)
    for i, value in enumerate(exact_shapley(worths).tolist()):
        integral = sum(w / 2 * float(c(i, (x + 1) / 2, worths)) for x, w in zip(nodes, weights, strict=True))
        if abs(integral - value) > 1e-6:
            return [f"for the worths of the run, the mean of c({i}, p) over p is not the Shapley value of block {i}"]
    return []
