"""The plan: fewer examples first, then fewer choices, until all fits the time."""

from __future__ import annotations

import pytest

from coto_lab.report.plan import FEWEST, SPARSITIES, Plan, make_plan

TWELVE = {"blocks": 12, "kinds": 3, "patterns": 9, "examples": 500}


def test_without_a_limit_everything_is_scored_on_all_examples() -> None:
    plan = make_plan(**TWELVE, shared=False, pass_seconds=100.0, seconds=None)
    assert plan.exact and set(plan.steps.values()) == {1} and (plan.orders, plan.samples) == (100, 20)
    assert plan.variants == {"blocks": 4096, "kinds": 8, "patterns": 9, "sparsity": SPARSITIES, "stability": 0}
    sampled = make_plan(**TWELVE | {"blocks": 13}, shared=True, pass_seconds=100.0, seconds=None)
    assert not sampled.exact and set(sampled.steps.values()) == {1} and sampled.orders == 100


def test_shared_blocks_allow_more_examples() -> None:
    """All coalitions of 12 blocks take 2^13 - 2 blocks where these are shared, that is 682.5 passes; 4096 otherwise."""
    shared = make_plan(**TWELVE, shared=True, pass_seconds=0.5, seconds=60)
    assert shared.exact and shared.steps["blocks"] == 16  # 341 s / 16 is below half a minute; 31 examples are left
    alone = make_plan(**TWELVE, shared=False, pass_seconds=0.5, seconds=60)
    assert not alone.exact, "4096 * 0.5 s / 16 is more than a minute"
    assert alone.orders == 20 and alone.steps["blocks"] == 4  # 30 s / (12 * 0.5 s / 4) = 20 orders


@pytest.mark.parametrize("pass_seconds", [1e-4, 1e-2, 0.3, 5.0, 1000.0])
def test_a_plan_stays_within_its_time_unless_it_is_the_smallest(pass_seconds: float) -> None:
    plan = make_plan(**TWELVE, shared=False, pass_seconds=pass_seconds, seconds=60)
    cost = sum(n * pass_seconds / plan.steps[part] for part, n in plan.variants.items())
    smallest = not plan.exact and plan.orders == 8 and plan.steps["kinds"] == 8
    assert cost < 1.6 * 60 or smallest
    assert all(500 // step >= (25 if part in ("blocks", "stability") else FEWEST) for part, step in plan.steps.items())


def test_few_examples_are_all_taken() -> None:
    plan = make_plan(blocks=4, kinds=9, patterns=9, examples=40, shared=True, pass_seconds=1000.0, seconds=1.0)
    assert set(plan.steps.values()) == {1} and isinstance(plan, Plan)
    assert plan.variants["kinds"] == 0, "nine kinds have 512 coalitions"
