"""The table of the sweep over learning rates: it has every planned run, and what it says of one is what training gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from coto_lab import Recipe, Task, Training
from coto_lab.studies.gallery import METHODS, SWEPT
from coto_lab.studies.gallery import SEEDS as LOOKED_AT
from coto_lab.studies.rate_sweep import (
    RATES,
    SAFEGUARDS,
    SEEDS,
    fused_name,
    planned_sweep,
    rate_sweep,
    sweep_name,
    swept_rates,
)

TABLE = rate_sweep()


def test_the_grid_rises_by_quarters_of_a_doubling_and_its_seeds_are_fresh() -> None:
    steps = torch.tensor(RATES, dtype=torch.float64).log2().diff()
    assert (RATES[0], RATES[-1], len(RATES)) == (0.01, 0.04, 9)
    torch.testing.assert_close(steps, torch.full_like(steps, 0.25), rtol=0, atol=0.01)
    assert not set(SEEDS) & set(LOOKED_AT) and len(SEEDS) == 5


def test_every_planned_run_is_in_the_table_by_its_recipe() -> None:
    planned = planned_sweep()
    assert list(TABLE["runs"]) == list(planned)
    for name, recipe in planned.items():
        about = TABLE["runs"][name]
        assert Recipe.from_json(about["recipe"]) == recipe
        assert 0 <= about["accuracy"] <= 100 and 0 < about["steps"] <= recipe.steps and len(about["sha256"]) == 64
        assert [len(column) for column in about["course"].values()] == [-(-about["steps"] // 20)] * 2


def test_every_pair_of_seeds_is_fused() -> None:
    cells = [fused_name(s, m, lr) for s in SAFEGUARDS for lr in swept_rates(s) for m in SWEPT]
    assert list(TABLE["fused"]) == cells and {len(pairs) for pairs in TABLE["fused"].values()} == {10}


@pytest.mark.parametrize(("safeguard", "method"), [("none", "LoRA"), ("warm-up", "CoTo")])
def test_a_run_begins_as_its_recipe_does(task: Task, safeguard: str, method: str) -> None:
    name = sweep_name(safeguard, method, 0.0238, 6)
    recipe = replace(METHODS[method], seed=6, lr=0.0238, **SAFEGUARDS[safeguard])
    training = Training(task, recipe)
    records = [training.step() for _ in range(20)]
    course = TABLE["runs"][name]["course"]
    assert sum(record.loss for record in records) / 20 == pytest.approx(course["loss"][0], rel=1e-2)  # others round otherwise
    assert sum(record.grad_norm.norm().item() for record in records) / 20 == pytest.approx(course["grad_norm"][0], rel=2e-2)
