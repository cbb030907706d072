"""The exercises of the notebook on cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from coto_lab.exercises._compare import mistake
from coto_lab.exercises._exercise import exercise
from coto_lab.exercises._numbers import as_number
from coto_lab.gating.coto import training_masks
from coto_lab.gating.schedules import Constant, Linear, Schedule
from coto_lab.probes.cost import Cost, spared

PAPER_SAVING = 0.242  # the saving of CoTo with HiRA, which is the largest that the paper reports


@exercise("Right: the saved share is the area between the curve p(t) and 1.", answers=2)
def check_spared(half: Any, short_ramp: Any) -> list[str]:
    """Check the shares of the adapters' work that two schedules save.

    Args:
        half: the answer for ``Constant(0.5)``, from 0 to 1.
        short_ramp: the answer for ``Linear(ramp=0.3)``.
    """
    rectangle = {"half of the gates are shut in every step, so that something is saved": 0.0}
    triangle = {
        "this is the share that is still done: the rest is saved": 0.85,
        "this is a rectangle: p rises during the ramp, so the area is a triangle": 0.3,
        "after the ramp, all gates are open until the end: nothing is saved there": 0.5,
    }
    return [
        *_check_spared("half", half, Constant(0.5), rectangle),
        *_check_spared("short_ramp", short_ramp, Linear(ramp=0.3), triangle),
    ]


def _check_spared(what: str, answer: Any, schedule: Schedule, likely: dict[str, float]) -> list[str]:
    number = as_number(answer)
    if number is None:
        return [f"{what} should be one number from 0 to 1"]
    share, _ = spared(training_masks(8, schedule, total_steps=800, seed=0))
    if number > 1:
        return [f"{what} = {number:g}: give a share from 0 to 1, not percent"]
    return mistake(what, number, share, likely, margin=0.03)  # the share in drawn masks differs slightly from the area


@exercise("With this share, CoTo would save the 24.2% of the paper.")
def check_needed(needed: Any, cost: Cost, masks: Tensor) -> list[str]:
    """Check the share of a full step that adapters need to have, so that CoTo saves what the paper reports.

    Args:
        needed: the answer, from 0 to 1.
        cost: the measured cost of a step; the parts that are not adapters keep their proportions.
        masks: which blocks CoTo opens, ``BoolTensor [T, n_blocks]``.
    """
    number = as_number(needed)
    if number is None:
        return ["needed should be one number from 0 to 1"]
    if number > 1:
        return [f"needed = {number:g}: give the share of a full step, from 0 to 1, not percent and not a factor"]
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _with_share(cost, middle).saving(masks) < PAPER_SAVING else (low, middle)
    closed, skipped = spared(masks)
    x = cost.parts(_full(cost))[0, 2] / cost.step(_full(cost))[0]
    y = cost.parts(_full(cost))[0, 1] / cost.step(_full(cost))[0]
    likely = {
        "the backward pass saves time too: 0.242 = closed x + skipped y": PAPER_SAVING / closed,
        "y shrinks when x grows: the parts that are not adapters keep their proportions, and y = β (1 - x)": (
            (PAPER_SAVING - skipped * y.item()) / closed
        ),
        "only the share β of the other parts is the backward pass: y = β (1 - x), not 1 - x": (
            (PAPER_SAVING - skipped) / (closed - skipped)
        ),
        "this is the measured share of the adapters": x.item(),
        "this is the share that is saved: the question is for the share x of the adapters": PAPER_SAVING,
    }
    complaints = mistake("needed", number, low, likely, decimals=2)
    if complaints and complaints[0].endswith("is not right") and 0 <= number < 1:
        saved = _with_share(cost, number).saving(masks)
        return [f"needed = {number:.4g}: with this share, CoTo would save {saved:.1%} on this machine, not {PAPER_SAVING:.1%}"]
    return complaints


def _with_share(cost: Cost, x: float) -> Cost:
    """The same cost, except that adapters are a share x of a full step."""
    rest = cost.fixed + cost.n_blocks * cost.backward
    return replace(cost, adapter=x / (1 - x) * rest / cost.n_blocks)


def _full(cost: Cost) -> Tensor:
    return torch.ones(1, cost.n_blocks, dtype=torch.bool)


@exercise("CoTo takes that many steps in the time of LoRA's 800.")
def check_same_time(same_time: Any, cost: Cost, masks: Tensor) -> list[str]:
    """Check the number of CoTo's steps that take as long as ``len(masks)`` steps of LoRA.

    Args:
        same_time: the answer.
        cost: the measured cost of a step.
        masks: which blocks CoTo opens, ``BoolTensor [T, n_blocks]``.
    """
    number = as_number(same_time)
    if number is None:
        return ["same_time should be one number"]
    n, saving = len(masks), cost.saving(masks)
    likely = {
        "CoTo's steps are shorter, so that more of them fit into the time": n * (1 - saving),
        "divide by 1 - saving: a step takes the share 1 - saving, and steps times this share must be 800": n * (1 + saving),
        "these are the steps beyond 800: add 800": n / (1 - saving) - n,
        "this is the share of a step's time: divide 800 by it": 1 - saving,
    }
    return mistake("same_time", number, n / (1 - saving), likely, margin=1)
