"""The exercises of the notebook on training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.exercises._compare import as_numbers, mistake
from coto_lab.exercises._exercise import exercise
from coto_lab.exercises._numbers import as_number
from coto_lab.merging.merge import merge
from coto_lab.probes.gradients import gradient_share
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.variant import Variant
from coto_lab.training.loop import Training
from coto_lab.training.run import Run

_AHEAD = 20  # steps


def open_and_drawn_loss(training: Training, evaluator: Evaluator) -> tuple[float, float]:
    """Loss on the training images in nats: with all gates open, and as the mean over the gates of the next 20 steps.

    Args:
        training: the training at its current step; it has at least 20 steps left.
        evaluator: scores the adapter.
    """
    done = len(training.records)
    adapter, masks = Adapter.from_model(training.model), training.coto.masks()[done : done + _AHEAD]
    variants = [Variant(adapter), *(Variant(adapter, mask) for mask in masks)]
    whole, *drawn = evaluator(variants, split="train").loss.tolist()
    return whole, sum(drawn) / len(drawn)


@exercise("Both losses are right.", answers=2)
def check_losses(my_all_open: Any, my_as_drawn: Any, training: Training, evaluator: Evaluator) -> list[str]:
    """Check the two losses of `open_and_drawn_loss`.

    Args:
        my_all_open, my_as_drawn: the answers, in nats.
        training, evaluator: as in `open_and_drawn_loss`.
    """
    answers = {"my_all_open": as_number(my_all_open), "my_as_drawn": as_number(my_as_drawn)}
    adapter, masks, done = Adapter.from_model(training.model), training.coto.masks(), len(training.records)
    variants = [Variant(adapter), *(Variant(adapter, mask) for mask in [*masks[done : done + _AHEAD], *masks[:_AHEAD]])]
    scores = {split: evaluator(variants, split=split) for split in ("train", "test")}
    whole, drawn, first = (part.mean().item() for part in scores["train"].loss.split([1, _AHEAD, _AHEAD]))
    test_whole, test_drawn, _ = (part.mean().item() for part in scores["test"].loss.split([1, _AHEAD, _AHEAD]))
    accurate, accurate_drawn, _ = (part.mean().item() for part in scores["train"].accuracy.split([1, _AHEAD, _AHEAD]))
    on_test = "this is the loss on the test images: give evaluator the argument split='train'"
    accuracy = "this is an accuracy: take .loss of the scores"
    likely = {
        "my_all_open": {
            "this is the loss with the gates that are drawn: a Variant without a mask has all gates open": drawn,
            on_test: test_whole,
            accuracy: accurate,
        },
        "my_as_drawn": {
            "this is the loss with all gates open: give each Variant its mask": whole,
            "these are the gates of the first 20 steps: start at the step that comes next": first,
            "this is the sum over the 20 steps: take the mean": _AHEAD * drawn,
            on_test: test_drawn,
            accuracy: accurate_drawn,
        },
    }
    complaints = []
    for (name, answer), right in zip(answers.items(), (whole, drawn), strict=True):
        if answer is None:
            complaints.append(f"{name} is not one number: take .item() of one loss, .mean().item() of several")
        else:
            complaints += mistake(name, answer, right, likely[name], decimals=1)
    return complaints


@exercise("ΔW is multiplied by the factor in every map.")
def check_turned_down(my_turned_down: Callable[[Adapter, float], Any], adapter: Adapter) -> list[str]:
    """Check a function that multiplies every update s·B·A by a factor.

    Args:
        my_turned_down: called as ``my_turned_down(adapter, factor)``; returns a new adapter.
        adapter: a plain LoRA on which the function is tried.
    """
    factor, kept = 0.3, {name: tensor.clone() for name, tensor in adapter.tensors.items()}
    mine = my_turned_down(Adapter(adapter.config, adapter.tensors), factor)
    if not all(torch.equal(kept[name], tensor) for name, tensor in adapter.tensors.items()):
        adapter.tensors.update(kept)
        return ["the adapter that was given is changed: make new tensors, and a new adapter by replace(adapter, tensors=...)"]
    if not isinstance(mine, Adapter):
        return [f"my_turned_down returns a {type(mine).__name__}, not an Adapter: is there a return replace(...)?"]
    if mine.tensors.keys() != adapter.tensors.keys():
        lost = sorted(adapter.tensors.keys() ^ mine.tensors.keys())
        return [f"the new adapter should have the same tensors; {lost[0]} is in one of the two only"]
    right, found, before = (_updates(a) for a in (merge([adapter], "ensemble", [factor]), mine, adapter))
    wrong = [name for name in right if not _close(found[name], right[name])]
    if not wrong:
        return []
    if len(wrong) < len(right):
        return [f"ΔW is right in {len(right) - len(wrong)} of {len(right)} maps; in {wrong[0]} it is not"]
    likely = {
        "A and B are both multiplied, so ΔW = s B A gets the factor twice: multiply one of them": factor**2,
        "ΔW is as before: multiply the tensors whose name contains 'lora_B'": 1,
        "ΔW is divided by the factor": 1 / factor,
        "ΔW is halved whatever the factor is: use the argument": 0.5,
        "ΔW is a quarter whatever the factor is: multiply only one of A and B by the argument": 0.25,
    }
    for said, scale in likely.items():
        if all(_close(found[name], scale * before[name]) for name in right):
            return [said]
    return ["ΔW is not the factor times the earlier ΔW"]


@exercise("These are the lowest block's shares in the last quarter.")
def check_late_shares(my_late: Any, gallery: Mapping[str, Sequence[Run]]) -> list[str]:
    """Check the shares of the gradient norm that the lowest block has in the last quarter of the steps.

    Args:
        my_late: the answer, method name -> one share per run, in percent.
        gallery: method name -> finished runs.
    """
    if not isinstance(my_late, Mapping) or my_late.keys() != gallery.keys():
        return [f"my_late should be a dictionary with the keys {', '.join(map(repr, gallery))}"]
    complaints = []
    for name, runs in gallery.items():
        answers = as_numbers(my_late[name], len(runs))
        if answers is None:
            complaints.append(f"my_late[{name!r}] should hold {len(runs)} numbers, one for each seed")
            continue
        quarters = [gradient_share(run.history.grad_norm, len(run.history), bins=4) for run in runs]  # [8, 4] each
        overall = [gradient_share(run.history.grad_norm, len(run.history), bins=1)[0, 0].item() for run in runs]
        right = [100 * share[0, 3].item() for share in quarters]
        likely = {
            "these are shares from 0 to 1: multiply by 100": [share[0, 3].item() for share in quarters],
            "these are of the whole training: take the steps from 600 on": [100 * share for share in overall],
            "these are of the first quarter: take the steps from 600 on": [100 * share[0, 0].item() for share in quarters],
            "these are of the highest block: row 0 is the lowest": [100 * share[-1, 3].item() for share in quarters],
        }
        complaints += mistake(f"my_late[{name!r}]", answers, right, likely, decimals=1)
    return complaints


def _updates(adapter: Adapter) -> dict[str, Tensor]:
    return {name: b @ a for name, (a, b) in adapter.factors().items()}


def _close(found: Tensor, right: Tensor) -> bool:
    return torch.allclose(found, right, rtol=1e-3, atol=1e-5)
