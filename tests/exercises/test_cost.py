"""The checks of the notebook on cost let right answers through, and name what is wrong with others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from coto_lab import Linear
from coto_lab.exercises import cost as exercises
from coto_lab.gating.coto import training_masks
from coto_lab.probes.cost import Cost, designed_masks, spared

check_spared, check_needed, check_same_time = (
    check.__wrapped__ for check in (exercises.check_spared, exercises.check_needed, exercises.check_same_time)
)

MASKS = training_masks(8, Linear(), total_steps=800, seed=0)
FIXED, BACKWARD, ADAPTER = 0.02, 0.003, 0.002
_DESIGNED = designed_masks(8)
COST = Cost(FIXED, BACKWARD, ADAPTER, _DESIGNED, torch.ones(len(_DESIGNED)).double())
SAVING = COST.saving(MASKS)


@pytest.mark.parametrize("answers", [(0.5, 0.15), (torch.tensor(0.5), 0.3 / 2)])
def test_areas_pass(answers: tuple[object, object]) -> None:
    assert check_spared(*answers) == []


@pytest.mark.parametrize(
    ("half", "short_ramp", "complaint"),
    [
        (50, 0.15, "half = 50: give a share from 0 to 1, not percent"),
        (0.5, 15, "short_ramp = 15: give a share"),
        (0.5, 0.85, "this is the share that is still done: the rest"),
        (0.5, 0.3, "this is a rectangle"),
        (0.5, 0.5, "after the ramp, all gates are open"),
        (0.0, 0.15, "half of the gates are shut in every step"),
        (0.7, 0.15, "half = 0.7 is not right"),
        ("half", 0.15, "half should be one number"),
    ],
)
def test_what_is_wrong_with_a_share_is_named(half: object, short_ramp: object, complaint: str) -> None:
    (found,) = check_spared(half, short_ramp)
    assert complaint in found


CLOSED, SKIPPED = spared(MASKS)
BETA = 8 * BACKWARD / (FIXED + 8 * BACKWARD)
Y = 8 * BACKWARD / (FIXED + 8 * BACKWARD + 8 * ADAPTER)
X = 8 * ADAPTER / (FIXED + 8 * BACKWARD + 8 * ADAPTER)
NEEDED = (0.242 - SKIPPED * BETA) / (CLOSED - SKIPPED * BETA)


@pytest.mark.parametrize("answer", [NEEDED, round(NEEDED, 2)])
def test_the_share_that_is_needed_passes(answer: float) -> None:
    assert check_needed(answer, COST, MASKS) == []


def test_it_is_found_also_where_adapters_were_measured_to_cost_nothing() -> None:
    nothing = Cost(FIXED, BACKWARD, 0.0, _DESIGNED, COST.seconds)
    assert check_needed(NEEDED, nothing, MASKS) == []


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (100 * NEEDED, "not percent and not a factor"),
        (0.242 / CLOSED, "the backward pass saves time too"),
        ((0.242 - SKIPPED * Y) / CLOSED, "y shrinks when x grows"),
        (X, "this is the measured share"),
        (0.242, "this is the share that is saved"),
        ((0.242 - SKIPPED) / (CLOSED - SKIPPED), "y = β (1 - x), not 1 - x"),
        (0.75, "needed = 0.75: with this share, CoTo would save 28"),
        (-0.5, "needed = -0.5 is not right"),
        (None, "needed should be one number"),
    ],
)
def test_what_is_wrong_with_the_share_is_named(answer: object, complaint: str) -> None:
    (found,) = check_needed(answer, COST, MASKS)
    assert complaint in found


@pytest.mark.parametrize("rule", [float, round, int])
def test_steps_in_the_same_time_pass(rule: Callable[[float], float]) -> None:
    assert check_same_time(rule(800 / (1 - SAVING)), COST, MASKS) == []


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (800 * (1 - SAVING), "more of them fit into the time"),
        (800 * (1 + SAVING), "divide by 1 - saving"),
        (800 / (1 - SAVING) - 800, "steps beyond 800: add 800"),
        (1 - SAVING, "divide 800 by it"),
        (2000, "same_time = 2000 is not right"),
        ([], "same_time should be one number"),
    ],
)
def test_what_is_wrong_with_the_steps_is_named(answer: object, complaint: str) -> None:
    (found,) = check_same_time(answer, COST, MASKS)
    assert complaint in found
