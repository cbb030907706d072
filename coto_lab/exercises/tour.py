"""The exercises of the tour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from coto_lab.exercises._compare import mistake
from coto_lab.exercises._exercise import exercise
from coto_lab.exercises._numbers import as_number
from coto_lab.gating.coto import CoTo, probabilities
from coto_lab.probes.interpolation import Curve
from coto_lab.probes.pruning import prune
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.training.run import Run


@exercise("This is the share of the steps in which a block trains.")
def check_share(my_share: Any, coto: CoTo) -> list[str]:
    """Check the share of all steps in which a block trains, on average over the blocks.

    Args:
        my_share: the answer, from 0 to 1.
        coto: the CoTo whose draws were to be counted.
    """
    masks = coto.masks()
    share = masks.double().mean().item()
    answer = as_number(my_share)
    if answer is None:
        return ["my_share is not one number: .mean() without an argument is the mean over steps and blocks"]
    likely = {
        "this is a percentage: give a share from 0 to 1": 100 * share,
        "this is the share of the steps in which a block does not train: in the masks, True is open": 1 - share,
        "this is the number of open blocks in a step: divide it by the number of blocks": share * masks.shape[1],
        "this is the number of steps: divide it by the number of all steps": share * len(masks),
        "this is the area under p(t), which is expected before any draw: count the draws": probabilities(
            coto.schedule, coto.total_steps
        ).mean(),
    }
    return mistake("my_share", answer, share, likely, decimals=3)


@exercise("This is the ensemble.")
def check_ensemble(my_curve: Any, fused: Mapping[str, Curve]) -> list[str]:
    """Check a curve that averages the updates of the two LoRA runs.

    Args:
        my_curve: the answer.
        fused: method name -> the curve between the same two runs that averages the factors.
    """
    if not isinstance(my_curve, Curve):
        return [f"my_curve is of type {type(my_curve).__name__}; it should be what interpolate(...) returns"]
    complaints = []
    if my_curve.how != "ensemble":
        complaints.append("this curve averages the factors: give interpolate the argument how='ensemble'")
    ends, found = {name: _ends(curve) for name, curve in fused.items()}, _ends(my_curve)
    likely = {
        "the two runs are swapped: runs['LoRA'] comes first, then the partner from the gallery": ends["LoRA"][::-1],
        **{f"these are the runs of {name}: take those of LoRA": ends[name] for name in ends},
    }
    if found != ends["LoRA"]:
        other = "its ends are not those of curves['LoRA']: take runs['LoRA'], load_run('lora-seed1') and evaluator=evaluator"
        complaints.append(next((said for said, wrong in likely.items() if found == wrong), other))
    return complaints


@exercise("This is what the first block's adapter does alone.")
def check_first_block(my_left: Any, runs: Mapping[str, Run], evaluator: Evaluator) -> list[str]:
    """Check the accuracies that are left when only the first block keeps its adapter.

    Args:
        my_left: the answer, method name -> accuracy from 0 to 1.
        runs: method name -> run.
        evaluator: scores them.
    """
    if not isinstance(my_left, Mapping) or my_left.keys() != runs.keys():
        return [f"my_left should be a dictionary with the keys {', '.join(map(repr, runs))}"]
    return [complaint for name, run in runs.items() for complaint in _check_left(name, my_left[name], run, evaluator)]


def _check_left(name: str, left: Any, run: Run, evaluator: Evaluator) -> list[str]:
    what, answer = f"my_left[{name!r}]", as_number(left)
    if answer is None:
        return [f"{what} is not one number: the accuracy of one pattern is table.accuracy.item()"]
    block = torch.arange(len(evaluator.sites(run.adapter).block_names))
    patterns = {
        "": block == 0,
        "here the first block lost its adapter and the others kept theirs: in a mask, True is kept": block != 0,
        "here the last block keeps its adapter: blocks are counted from 0": block == block[-1],
        "here the second block keeps its adapter: blocks are counted from 0": block == 1,
        "here all adapters are kept: give prune your pattern": block >= 0,
        "here every other block keeps its adapter: the mask is torch.arange(8) == 0": block % 2 == 0,
    }
    right, *wrong = prune(evaluator.task, run, patterns, evaluator).accuracy.tolist()
    likely = dict(zip(list(patterns)[1:], wrong, strict=True))
    percentage = {"this is a percentage: give a share from 0 to 1": 100 * right}
    return mistake(what, answer, right, percentage | likely, decimals=3)


def _ends(curve: Curve) -> tuple[float, float]:
    return round(curve.accuracy[0].item(), 6), round(curve.accuracy[-1].item(), 6)
