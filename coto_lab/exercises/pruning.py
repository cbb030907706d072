"""The exercises of the notebook on pruning and stability."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from coto_lab.exercises._compare import as_numbers, mistake
from coto_lab.exercises._exercise import exercise
from coto_lab.probes.pruning import paper_patterns, prune
from coto_lab.probes.theory import JensenTable
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.training.run import Run


@exercise("Six adapters, and LoRA classifies more images correctly with them than with the middle third.")
def check_pattern(my_mask: Any, run: Run, evaluator: Evaluator) -> list[str]:
    """Check a mask that should keep six adapters and beat the middle third.

    Args:
        my_mask: the answer, ``BoolTensor [n_modules]``, True = kept.
        run: the LoRA run.
        evaluator: scores it.
    """
    sites = evaluator.sites(run.adapter)
    if not isinstance(my_mask, Tensor) or my_mask.dtype != torch.bool:
        kind = f"a tensor of {my_mask.dtype}" if isinstance(my_mask, Tensor) else f"of type {type(my_mask).__name__}"
        return [f"my_mask is {kind}; it should be a tensor of True and False, such as `torch.arange(24) // 3 == 3`"]
    if my_mask.shape != (len(sites),):
        return [f"my_mask has shape {list(my_mask.shape)}; it should have one place for each of the {len(sites)} adapters"]
    if (kept := int(my_mask.sum())) != 6:
        return [f"my_mask keeps {kept} adapters; keep six"]
    middle_third = paper_patterns(sites)["middle third"]
    if torch.equal(my_mask, middle_third):
        return ["this is the middle third itself: choose another six"]
    middle, own = prune(evaluator.task, run, {"middle": middle_third, "own": my_mask}, evaluator).accuracy.tolist()
    if own > middle:
        return []
    return [f"with your mask LoRA classifies {own:.1%} correctly, with the middle third {middle:.1%}: look for a better one"]


@exercise("These are the points that each block costs.")
def check_lost(my_lost: Any, runs: Mapping[str, Run], evaluator: Evaluator) -> list[str]:
    """Check the points of accuracy that are lost when one block is shut and all others are open.

    Args:
        my_lost: the answer, method name -> a number for each block, in percentage points.
        runs: method name -> run.
        evaluator: scores them.
    """
    if not isinstance(my_lost, Mapping) or not runs.keys() <= my_lost.keys():
        return [f"my_lost should be a dictionary with the keys {', '.join(map(repr, runs))}"]
    return [said for name, run in runs.items() for said in _check_lost(f"my_lost[{name!r}]", my_lost[name], run, evaluator)]


def _check_lost(what: str, answer: Any, run: Run, evaluator: Evaluator) -> list[str]:
    n_blocks = len(evaluator.sites(run.adapter).block_names)
    numbers = as_numbers(answer, n_blocks)
    if numbers is None:
        return [f"{what} should be {n_blocks} numbers, one for each block"]
    only = torch.eye(n_blocks, dtype=torch.bool)
    masks = {str(i): mask for i, mask in enumerate([torch.ones(n_blocks, dtype=torch.bool), *~only, *only])}
    whole, *rest = 100 * prune(evaluator.task, run, masks, evaluator).accuracy
    without, alone = torch.stack(rest).split(n_blocks)
    likely = {
        "these are shares: points are 100 times as many": (whole - without) / 100,
        "the sign is wrong: the loss is the accuracy with all blocks minus the accuracy without one": without - whole,
        "these are accuracies: subtract them from the accuracy with all blocks open": without,
        "these are accuracies, as shares: subtract them from the accuracy with all blocks open": without / 100,
        "here one block is kept and seven are shut: invert the mask with ~": whole - alone,
    }
    return mistake(what, numbers, whole - without, likely, decimals=1)


@exercise("These are the weights of theorem 3.1.")
def check_weights(weights: Callable[[float, int], Any]) -> list[str]:
    """Check the probabilities that j of L gates are open.

    Args:
        weights: called as ``weights(p, L)``; returns L + 1 numbers, for j = 0 ... L.
    """
    for p, n_blocks in ((0.25, 8), (0.6, 5)):
        found = weights(p, n_blocks)
        if found is None:
            return ["weights returns None: is there a return?"]
        numbers = as_numbers(found, n_blocks + 1)
        if numbers is None:
            return [f"weights({p}, {n_blocks}) should return {n_blocks + 1} numbers: j runs from 0 to L, both ends included"]
        j = torch.arange(n_blocks + 1)
        ways = torch.tensor([math.comb(n_blocks, int(k)) for k in j], dtype=torch.float64)
        one, nothing = p**j * (1 - p) ** (n_blocks - j), torch.zeros(n_blocks + 1, dtype=torch.float64)
        likely = {
            "the binomial coefficient is missing: this is the probability of one mask, and there are math.comb(L, j)": one,
            "p and 1 - p are swapped: j gates are open, each with probability p": ways * one.flip(0),
            "the factor (1 - p) ** (L - j) is missing: the other L - j gates are shut": ways * p**j,
            "the factor p ** j is missing: j gates are open": ways * (1 - p) ** (n_blocks - j),
            "this is the number of masks: multiply it by the probability of one": ways,
        }
        right = JensenTable(torch.tensor([p], dtype=torch.float64), nothing, nothing).weights[0]
        if complaints := mistake(f"weights({p}, {n_blocks})", numbers, right, likely, decimals=5):
            return complaints
    return []
