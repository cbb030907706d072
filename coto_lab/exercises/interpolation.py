"""The exercises of the notebook on interpolation and merging."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coto_lab.exercises._compare import as_numbers, mistake
from coto_lab.exercises._exercise import exercise
from coto_lab.exercises._numbers import as_number
from coto_lab.merging.merge import merge
from coto_lab.probes.interpolation import Curve
from coto_lab.training.run import Run

_PRECISE = 1e-6  # float32 is precise enough


@exercise("This is the barrier.")
def check_barrier(my_barrier: Callable[[Tensor, Tensor], Any], curves: Mapping[str, Curve]) -> list[str]:
    """Check a barrier computed by hand.

    Args:
        my_barrier: called as ``my_barrier(alphas, loss)`` with tensors ``[n]``; returns one number, in nats.
        curves: method name -> a curve on which the function is tried.
    """
    # A made-up curve for which each likely mistake gives a different number: its ends differ, its points are not evenly
    # spaced, and its largest excess is neither in the middle nor at the highest loss.
    alphas, loss = torch.tensor([[0.0, 0.3, 0.6, 0.9, 1.0], [0.2, 1.0, 1.05, 0.15, 0.9]], dtype=torch.float64)
    made = Curve(alphas, torch.zeros(5, dtype=torch.float64), loss, "fuse")
    top, excess = loss.max(), loss - ((1 - alphas) * loss[0] + alphas * loss[-1])
    swapped = loss - (alphas * loss[0] + (1 - alphas) * loss[-1])
    likely = {
        "this is the highest loss minus the lowest: measure from the straight line between the two ends": top - loss.min(),
        "this is the height above the first run: measure from the line, which goes to the second run": top - loss[0],
        "this is the height above the second run: the line starts at the first": top - loss[-1],
        "this is the height above the mean of the ends: the line has another height at every alpha": top - loss[[0, -1]].mean(),
        "this is the excess in the middle, or where the loss is highest: take the largest of all": excess[2],
        "this is the sum of the excesses: take the largest": excess.sum(),
        "this is the mean of the excesses: take the largest": excess.mean(),
        "the ends of the line are swapped: at alpha = 0 it has the loss of the first run": swapped.max(),
        "the sign is wrong: take the loss minus the line": (-excess).max(),
    }
    for name, curve in {**curves, "": made}.items():
        answer = my_barrier(curve.alphas, curve.loss)
        number = as_number(answer)
        if number is None:
            return [f"my_barrier returns {_kind(answer)}; it should return one number: is there a return, and a max()?"]
        if abs(number - curve.barrier) > _PRECISE:
            mine = as_number(my_barrier(alphas, loss))
            found = (said for said, wrong in likely.items() if mine is not None and abs(mine - wrong.item()) < _PRECISE)
            where = f"for {name} you have {number:.4f}, and the barrier is {curve.barrier:.4f}" if name else "not right yet"
            return [f"{where}: {next(found, 'subtract the straight line from the loss, and take the largest value')}"]
    return []


@exercise("These are the weights of the three parts.")
def check_weights(my_weights: Any, pair: Sequence[Run]) -> list[str]:
    """Check the weights that the parts of ΔW have where two runs are fused 1:2.

    Args:
        my_weights: the answer: the weights of B₁A₁, of B₂A₂ and of B₁A₂ + B₂A₁.
        pair: the two runs, plain LoRA.
    """
    answers = as_numbers(my_weights, 3)
    if answers is None:
        return ["my_weights should be three numbers: of the first run's own update, of the second's, and of the cross terms"]
    right = _weights_of_parts(pair, [1 / 3, 2 / 3])
    first, second, cross = right
    likely = {
        "these are the weights of the factors: multiply the two brackets out": [1 / 3, 2 / 3, 0.0],
        "these are the weights of a 1:1 fusion": _weights_of_parts(pair, [1 / 2, 1 / 2]),
        "the runs are swapped: the second one has two thirds": [second, first, cross],
        "the last is twice as large as it should be: the bracket has B₁A₂ + B₂A₁ only once": [first, second, 2 * cross],
        "the last is the product of the two own weights: take the product of the factors' weights": [
            first,
            second,
            first * second,
        ],
        "each number is a product of two weights, B's and A's": [1 / 3, 2 / 3, cross],
    }
    return mistake("my_weights", answers, right, likely, decimals=2)


@exercise("From these five means comes the standard error.")
def check_left_out(my_left_out: Any, differences: Sequence[float], pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Check the mean differences that are left when each seed is left out once.

    Args:
        my_left_out: the answer, one mean per seed, from seed 0 on.
        differences: one difference per pair.
        pairs: the two seeds of each pair.
    """
    seeds = sorted({seed for pair in pairs for seed in pair})
    if as_numbers(my_left_out, len(pairs)) is not None:
        return [f"these are {len(pairs)} numbers, one per pair: leave out a seed, with all pairs that it is in"]
    answers = as_numbers(my_left_out, len(seeds))
    if answers is None:
        return [f"my_left_out should be {len(seeds)} numbers, one for each seed that is left out"]

    def means(kept: Callable[[int, tuple[int, int]], bool]) -> list[float]:
        chosen = [[d for d, pair in zip(differences, pairs, strict=True) if kept(seed, pair)] for seed in seeds]
        return [sum(own) / len(own) for own in chosen]

    likely = {
        "these are the means of the pairs that the seed is in: take those that it is not in": means(lambda k, pair: k in pair),
        "a pair is left out only where the seed comes first: look at both seeds of a pair": means(
            lambda k, pair: k != pair[0] or k == max(seeds)
        ),
    }
    return mistake("my_left_out", answers, means(lambda k, pair: k not in pair), likely, decimals=1)


def _weights_of_parts(pair: Sequence[Run], weights: Sequence[float]) -> list[float]:
    """The weights of the parts in the ΔW that `merge` makes, by least squares; the parts point in different directions."""
    (name, (a1, b1)), *_ = pair[0].adapter.factors().items()
    a2, b2 = pair[1].adapter.factors()[name]
    a, b = merge(pair, weights=weights).factors()[name]
    parts = torch.stack([b1 @ a1, b2 @ a2, b1 @ a2 + b2 @ a1]).flatten(1).double()
    solution: Tensor = torch.linalg.lstsq(parts.T, (b @ a).flatten()[:, None].double()).solution
    return [float(weight) for weight in solution.flatten()]


def _kind(answer: Any) -> str:
    return f"a tensor of shape {list(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
