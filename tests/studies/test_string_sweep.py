from __future__ import annotations

from itertools import pairwise

import pytest

from coto_lab import load_task
from coto_lab.studies.gallery import SEEDS as GALLERY_SEEDS
from coto_lab.studies.gallery import SWEPT
from coto_lab.studies.legs import STRINGS
from coto_lab.studies.string_sweep import LENGTHS, RATES, SEEDS, planned_string_sweep, point, string_sweep


def mean(method: str, lr: float, steps: int) -> float:
    """Test accuracy of single runs over tasks and seeds, in %."""
    values = [value for task in STRINGS.tasks for value in string_sweep()["scores"][task][point(method, lr, steps)]["alone"]]
    return sum(values) / len(values)


def best(method: str, steps: int) -> float:
    return max(RATES, key=lambda lr: mean(method, lr, steps))


def test_the_grid_has_half_doublings_and_seeds_of_its_own() -> None:
    assert all(high / low == pytest.approx(2**0.5, rel=1e-3) for low, high in pairwise(RATES))
    assert not set(SEEDS) & set(GALLERY_SEEDS) and len(SEEDS) == 5


def test_both_methods_have_every_point() -> None:
    for scores in string_sweep()["scores"].values():
        assert scores.keys() == {point(method, lr, steps) for method in SWEPT for lr in RATES for steps in LENGTHS}
        for found in scores.values():
            assert [len(found[name]) for name in ("alone", "loss", "steps", "fused")] == [5, 5, 5, 10]
            assert all(0 <= value <= 100 for value in (*found["alone"], *found["fused"]))
    assert set(string_sweep()["scores"]) == set(STRINGS.tasks)
    assert string_sweep()["about"]["base"] == load_task(STRINGS.tasks[0]).base


@pytest.mark.parametrize("method", SWEPT)
def test_a_point_differs_from_the_gallery_in_rate_length_and_seed_alone(method: str) -> None:
    planned = planned_string_sweep(method, 600)
    assert list(planned) == [point(method, lr, 600) for lr in RATES]
    for lr, recipes in zip(RATES, planned.values(), strict=True):
        for recipe, seed in zip(recipes, SEEDS, strict=True):
            assert (recipe.lr, recipe.steps, recipe.seed) == (lr, 600, seed)
            own = STRINGS.methods[method]
            assert (recipe.r, recipe.alpha, recipe.schedule, recipe.decay) == (own.r, own.alpha, own.schedule, own.decay)


def test_the_gallery_has_the_best_length_and_the_rate_below_the_best_of_both() -> None:
    assert {STRINGS.methods[method].steps for method in SWEPT} == {max(LENGTHS)}
    for method in SWEPT:
        assert max(LENGTHS, key=lambda steps: mean(method, best(method, steps), steps)) == max(LENGTHS)
        assert RATES[RATES.index(best(method, max(LENGTHS))) - 1] == STRINGS.methods[method].lr
        above = RATES[RATES.index(best(method, max(LENGTHS))) + 1]
        assert min(min(string_sweep()["scores"][task][point(method, above, 1200)]["alone"]) for task in STRINGS.tasks) < 5
