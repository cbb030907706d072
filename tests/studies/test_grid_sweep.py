from __future__ import annotations

from itertools import pairwise

import pytest

from coto_lab import load_task
from coto_lab.studies.gallery import SEEDS as GALLERY_SEEDS
from coto_lab.studies.gallery import SWEPT
from coto_lab.studies.grid_sweep import DOCSTRING_SWEEP, GRID_SWEEPS, STRING_SWEEP, GridSweep, point

SWEEPS = pytest.mark.parametrize("sweep", GRID_SWEEPS.values(), ids=lambda sweep: sweep.leg.name)


def mean(sweep: GridSweep, method: str, lr: float, steps: int) -> float:
    """Test accuracy of single runs over tasks and seeds, in %."""
    scores = sweep.results()["scores"]
    values = [value for task in sweep.leg.tasks for value in scores[task][point(method, lr, steps)]["alone"]]
    return sum(values) / len(values)


def best(sweep: GridSweep, method: str, steps: int) -> float:
    return max(sweep.rates, key=lambda lr: mean(sweep, method, lr, steps))


def test_the_grids_are_even() -> None:
    for sweep, ratio in ((STRING_SWEEP, 2**0.5), (DOCSTRING_SWEEP, 2)):
        assert all(high / low == pytest.approx(ratio, rel=1e-3) for low, high in pairwise(sweep.rates))


@SWEEPS
def test_the_seeds_are_not_those_of_the_gallery(sweep: GridSweep) -> None:
    assert not set(sweep.seeds) & set(GALLERY_SEEDS)


@SWEEPS
def test_both_methods_have_every_point(sweep: GridSweep) -> None:
    results, n = sweep.results(), len(sweep.seeds)
    for scores in results["scores"].values():
        assert scores.keys() == {point(method, lr, steps) for method in SWEPT for lr in sweep.rates for steps in sweep.lengths}
        for found in scores.values():
            sizes = [len(found[name]) for name in ("alone", "loss", "steps", "fused")]
            assert sizes == [n, n, n, n * (n - 1) // 2]
            assert all(0 <= value <= 100 for value in (*found["alone"], *found["fused"]))
    assert set(results["scores"]) == set(sweep.leg.tasks)
    assert results["about"]["base"] == load_task(sweep.leg.tasks[0]).base


@SWEEPS
@pytest.mark.parametrize("method", SWEPT)
def test_a_point_differs_from_the_gallery_in_rate_length_and_seed_alone(sweep: GridSweep, method: str) -> None:
    steps = sweep.lengths[0]
    planned = sweep.planned(method, steps)
    assert list(planned) == [point(method, lr, steps) for lr in sweep.rates]
    for lr, recipes in zip(sweep.rates, planned.values(), strict=True):
        for recipe, seed in zip(recipes, sweep.seeds, strict=True):
            assert (recipe.lr, recipe.steps, recipe.seed) == (lr, steps, seed)
            own = sweep.leg.methods[method]
            assert (recipe.r, recipe.alpha, recipe.schedule, recipe.decay) == (own.r, own.alpha, own.schedule, own.decay)


def test_on_strings_the_gallery_has_the_best_length_and_the_rate_below_the_best_of_both() -> None:
    sweep, longest = STRING_SWEEP, max(STRING_SWEEP.lengths)
    assert {sweep.leg.methods[method].steps for method in SWEPT} == {longest}
    for method in SWEPT:
        assert max(sweep.lengths, key=lambda steps: mean(sweep, method, best(sweep, method, steps), steps)) == longest
        place = sweep.rates.index(best(sweep, method, longest))
        assert sweep.rates[place - 1] == sweep.leg.methods[method].lr
        above = point(method, sweep.rates[place + 1], longest)
        assert min(min(sweep.results()["scores"][task][above]["alone"]) for task in sweep.leg.tasks) < 5


def test_on_docstrings_the_gallery_has_the_rate_with_the_highest_mean_over_both() -> None:
    sweep = DOCSTRING_SWEEP
    (steps,) = sweep.lengths
    chosen = max(sweep.rates, key=lambda lr: sum(mean(sweep, method, lr, steps) for method in SWEPT))
    assert {(recipe.lr, recipe.steps) for recipe in sweep.leg.methods.values()} == {(chosen, steps)}
