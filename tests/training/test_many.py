"""Runs trained together are the runs that `fit` makes one by one."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_tasks import bert_task, gpt2_task, language_task
from torch import Tensor, nn

from coto_lab import (
    Adapter,
    Classification,
    Constant,
    Evaluator,
    Exponential,
    Linear,
    Recipe,
    Run,
    Sine,
    Task,
    Variant,
    fit,
    fit_many,
)
from coto_lab.training import rows
from coto_lab.training.many_adapters import ManyAdapters
from coto_lab.training.step import take_step

RECIPE = Recipe(r=2, steps=6, batch_size=8)


class DoubleTask(Classification):
    """Inputs in float64, for a base in float64."""

    def predict(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return super().predict(model, {name: x.double() if x.is_floating_point() else x for name, x in batch.items()})


@pytest.fixture(scope="session")
def double_task(tiny_task: Task) -> Task:
    values = {field.name: getattr(tiny_task, field.name) for field in fields(Classification)}
    return DoubleTask(**values | {"load_base": lambda: tiny_task.load_base().double()})


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each shared base had."""
    found: list[int] = []

    class Spied(ManyAdapters):
        def __init__(self, task: Task, recipes: list[Recipe], *rest: object):
            found.append(len(recipes))
            super().__init__(task, recipes, *rest)

    monkeypatch.setattr(rows, "ManyAdapters", Spied)
    return found


def together(task: Task, recipes: list[Recipe], **settings: object) -> list[Run]:
    return fit_many(task, recipes, progress=False, **{"n_jobs": 1} | settings)


def difference(a: Adapter, b: Adapter) -> float:
    assert list(a.tensors) == list(b.tensors), "the same names in the same order"
    assert a.config == b.config
    return max((a.tensors[key] - b.tensors[key]).abs().max().item() for key in a.tensors)


def assert_same(found: Run, expected: Run, tolerance: float) -> None:
    assert (found.recipe, found.task, found.base) == (expected.recipe, expected.task, expected.base)
    assert difference(found.adapter, expected.adapter) <= tolerance
    assert {tensor.dtype for tensor in found.adapter.tensors.values()} == {*map(dtype, expected.adapter.tensors.values())}
    ours, theirs = found.history, expected.history
    assert (ours.gates, ours.modules) == (theirs.gates, theirs.modules)
    for name in ("gate_of_module", "mask", "lr", "p"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    torch.testing.assert_close(ours.loss, theirs.loss, rtol=0, atol=tolerance)
    torch.testing.assert_close(ours.module_grad_norm, theirs.module_grad_norm, rtol=1e-4, atol=tolerance)
    assert torch.equal(ours.module_grad_norm == 0, theirs.module_grad_norm == 0)
    assert ours.seconds.shape == theirs.seconds.shape and (ours.seconds > 0).all()


def dtype(tensor: Tensor) -> torch.dtype:
    return tensor.dtype


# --- The same runs ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_in_float64_every_run_is_that_of_fit(double_task: Task, sizes: list[int]) -> None:
    base = replace(RECIPE, steps=60)
    recipes = [
        base,
        replace(base, seed=3, weight_decay=0.5),
        replace(base, schedule=Linear(), seed=1, lr=3e-3),
        replace(base, schedule=Sine(), decay="cosine", weight_decay=0.1),
        replace(base, schedule=Exponential(), decay="constant", seed=2),
        replace(base, schedule=Constant(0.2), tilt=1.0, weight_decay=0.3),
        replace(base, schedule=Linear(), tilt=-1.0, seed=1),
        replace(base, schedule=Linear(), dropout_decay="linear"),  # of no dropout
        replace(base, schedule=Linear(), warmup_steps=20, max_grad_norm=0.05),
        replace(base, max_grad_norm=0.05),
    ]
    runs = together(double_task, recipes)
    assert sizes == [10]
    for run, recipe in zip(runs, recipes, strict=True):
        assert_same(run, fit(double_task, recipe, progress=False), 1e-9)
    assert min(difference(a.adapter, b.adapter) for a in runs for b in runs if a is not b) > 1e-3, "and they do differ"


@pytest.mark.parametrize("make", [language_task, lambda: language_task(padded=True), lambda: bert_task(dropout=0.0)])
def test_so_it_is_for_language_models(make: Callable[[], Task], sizes: list[int]) -> None:
    task, base = make(), replace(RECIPE, lr=1e-3, schedule=Linear(), weight_decay=0.1)
    recipes = [base, replace(base, seed=1), replace(base, schedule=Constant(1.0))]
    for run, recipe in zip(together(task, recipes), recipes, strict=True):
        assert_same(run, fit(task, recipe, progress=False), 1e-4)
    assert sizes == [3]


def test_in_float32_the_first_steps_agree_to_rounding(tiny_task: Task) -> None:
    recipes = [replace(RECIPE, schedule=Linear(), seed=seed, lr=1e-3) for seed in range(3)]
    for run, recipe in zip(together(tiny_task, recipes), recipes, strict=True):
        assert_same(run, fit(tiny_task, recipe, progress=False), 1e-5)


def test_a_run_does_not_depend_on_its_company(double_task: Task) -> None:
    base = replace(RECIPE, schedule=Linear(), weight_decay=0.1)
    crowd = [replace(base, seed=seed, lr=lr) for seed, lr in ((4, 0.1), (0, 0.01), (5, 1e-4))]
    assert_same(together(double_task, crowd)[1], together(double_task, [crowd[1], crowd[2]])[0], 1e-12)


# --- Dropped adapters ------------------------------------------------------------------------------------------------------


def test_what_is_dropped_gets_no_update_no_decay_and_no_change_of_moments(tiny_task: Task) -> None:
    base = replace(RECIPE, steps=12, schedule=Constant(0.5), weight_decay=0.5, lr=0.1)
    recipes = [base, replace(base, seed=1), replace(base, schedule=Constant(1.0))]
    starts = [rows._start(tiny_task.load_base(), tiny_task, recipe) for recipe in recipes]
    trainee = ManyAdapters(tiny_task, recipes, tiny_task.load_base(), starts)
    alive = torch.ones(3, dtype=torch.bool)

    def snapshot() -> list[list[tuple[Tensor, dict[str, Tensor]]]]:
        state = trainee.optimizer.state
        return [[(p.detach().clone(), {k: v.clone() for k, v in state[p].items()}) for p in views] for views in trainee._views]

    before, seen = snapshot(), set()
    for t in range(base.steps):
        take_step(tiny_task, trainee, recipes, t, alive)
        after = snapshot()
        for i, (old, new) in enumerate(zip(before, after, strict=True)):
            for j, ((weight, state), (moved, changed)) in enumerate(zip(old, new, strict=True)):
                is_open = bool(trainee.masks[i, t, trainee.gate_of_module[j // 2]])
                seen.add((i, is_open))
                at_start = j % 2 == 0 and "step" not in state  # A has no gradient while B is 0, but it has decay
                assert torch.equal(weight, moved) is not is_open, (t, i, j, at_start)
                if is_open:
                    assert changed["step"] == state.get("step", 0) + 1
                else:
                    assert changed.keys() == state.keys()
                    assert all(torch.equal(changed[key], state[key]) for key in state)
        before = after
    assert seen == {(0, True), (0, False), (1, True), (1, False), (2, True)}


# --- Who trains with whom --------------------------------------------------------------------------------------------------


def test_runs_come_back_in_order_and_only_like_recipes_share_a_base(tiny_task: Task, sizes: list[int]) -> None:
    recipes = [
        replace(RECIPE, seed=0),
        replace(RECIPE, method="dora"),
        replace(RECIPE, r=3),
        replace(RECIPE, seed=1, schedule=Linear()),
        replace(RECIPE, steps=4),
        replace(RECIPE, dropout=0.2),
        replace(RECIPE, r=3, seed=1),
        replace(RECIPE, alpha=2.0),
        replace(RECIPE, batch_size=4),
        replace(RECIPE, method="hira"),
        replace(RECIPE, dropout=0.2, dropout_decay="linear"),
        replace(RECIPE, seed=2),
        replace(RECIPE, alpha=2.0, seed=1),
    ]
    runs = together(tiny_task, recipes)
    assert sizes == [3, 2, 2]
    assert [run.recipe for run in runs] == recipes
    for run, recipe in zip(runs, recipes, strict=True):
        assert_same(run, fit(tiny_task, recipe, progress=False), 1e-4)


@pytest.mark.parametrize(("max_rows", "expected"), [(1, []), (2, [2, 2]), (3, [3, 2]), (10, [5])])
def test_no_more_rows_than_asked_for(tiny_task: Task, sizes: list[int], max_rows: int, expected: list[int]) -> None:
    recipes = [replace(RECIPE, steps=2, seed=seed) for seed in range(5)]
    runs = together(tiny_task, recipes, max_rows=max_rows)
    assert sizes == expected
    assert [run.recipe.seed for run in runs] == list(range(5))


@pytest.mark.parametrize(
    ("make", "apart"),
    [
        (lambda tiny: tiny, True),
        (lambda _: language_task(), True),
        (lambda _: bert_task(dropout=0.0), True),
        (lambda _: bert_task(dropout=0.1), False),
        (lambda _: bert_task(dropout=1e-7), False),  # which it draws random numbers for, though nothing is dropped
        (lambda _: gpt2_task(), False),  # not nn.Linear
        (lambda tiny: replace(tiny, load_base=lambda: tiny.load_base().bfloat16()), False),  # where PEFT's adapters are float32
    ],
    ids=["vit", "llama", "bert", "bert with dropout", "with very little", "gpt2", "half precision"],
)
@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")
def test_bases_whose_rows_would_meet_are_not_shared(
    tiny_task: Task, sizes: list[int], make: Callable[[Task], Task], apart: bool
) -> None:
    task = make(tiny_task)
    assert rows.rows_are_apart(task, Recipe(), task.load_base()) is apart
    if not apart and "bfloat16" not in str(task.load_base().dtype):
        recipes = [replace(RECIPE, steps=2, seed=seed) for seed in range(2)]
        runs = together(task, recipes)
        assert sizes == []
        assert all(difference(run.adapter, fit(task, run.recipe, progress=False).adapter) == 0 for run in runs)


@pytest.mark.slow
def test_processes_train_what_fit_trains(task: Task) -> None:
    base = Recipe(steps=2, batch_size=8)
    recipes = [replace(base, method="dora"), replace(base, seed=1), replace(base, dropout=0.3), replace(base, seed=2)]
    recipes += [replace(base, method=name, schedule=Linear()) for name in ("miss", "vera")]
    runs = fit_many(task, recipes, n_jobs=2, progress=False)
    for run, recipe in zip(runs, recipes, strict=True):
        apart = recipe.method != "lora" or recipe.dropout > 0
        assert_same(run, fit(task, recipe, progress=False), 0 if apart else 1e-4)


# --- Runs that diverge -----------------------------------------------------------------------------------------------------


def ours(warned: pytest.WarningsRecorder) -> list[str]:
    return [str(warning.message) for warning in warned if warning.category is UserWarning]  # PEFT gives others


def test_a_run_that_diverges_is_named_and_the_others_train_on(double_task: Task, sizes: list[int]) -> None:
    base = replace(RECIPE, steps=20, schedule=Linear())
    good = [base, replace(base, seed=1)]
    bad = replace(base, lr=1e200)
    with pytest.warns(UserWarning, match=r"lr=1e\+200.*is not finite at step \d+: this run ends there") as warned:
        runs = together(double_task, [good[0], bad, good[1]])
    (warning,) = ours(warned)
    assert sizes == [3]
    for run, expected in zip(runs[::2], together(double_task, good), strict=True):
        assert_same(run, expected, 1e-9)
    steps = len(runs[1].history)
    assert 0 < steps < 20 and f"step {steps}:" in warning
    assert all(tensor.isfinite().all() for tensor in runs[1].adapter.tensors.values())
    assert runs[1].history.loss.isfinite().all() and runs[1].history.module_grad_norm.isfinite().all()
    with pytest.warns(UserWarning, match="not finite"):
        (alone,) = together(double_task, [bad])
    assert len(alone.history) == steps
    for key, tensor in alone.adapter.tensors.items():
        torch.testing.assert_close(runs[1].adapter.tensors[key], tensor, rtol=1e-6, atol=0)
    assert len(fit(double_task, replace(bad, lr=1e-3), progress=False).history) == 20
    with pytest.raises(FloatingPointError, match=f"step {steps} "):
        fit(double_task, bad, progress=False)


def test_all_may_diverge(tiny_task: Task) -> None:
    recipes = [replace(RECIPE, steps=8, lr=1e30, seed=seed) for seed in range(2)]
    with pytest.warns(UserWarning, match="not finite") as warned:
        runs = together(tiny_task, recipes)
    assert [re.search(r"seed=(\d)", warning).group(1) for warning in ours(warned)] == ["0", "1"]
    assert all(len(run.history) < 8 for run in runs)


# --- The rest --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipes", "settings", "message"),
    [
        ([], {}, "recipes is empty: give at least one"),
        ([RECIPE], {"max_rows": 0}, "max_rows=0"),
        ([RECIPE], {"max_rows": 2.5}, "max_rows=2.5"),
        ([RECIPE], {"n_jobs": 0}, "n_jobs=0"),
    ],
)
def test_bad_input_is_refused(tiny_task: Task, recipes: list[Recipe], settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        together(tiny_task, recipes, **settings)


def test_global_random_numbers_are_untouched_and_without_effect(tiny_task: Task) -> None:
    def states() -> list[object]:
        return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]

    recipes = [replace(RECIPE, schedule=Linear(), seed=seed) for seed in range(2)] + [replace(RECIPE, dropout=0.2)]
    before = states()
    first = together(tiny_task, recipes)
    assert states() == before
    with torch.random.fork_rng():
        torch.manual_seed(1234)
        again = together(tiny_task, recipes)
    assert all(difference(a.adapter, b.adapter) == 0 for a, b in zip(first, again, strict=True))


def test_a_run_is_saved_loaded_and_scored_as_any(tiny_task: Task, evaluator: Evaluator, tmp_path: Path) -> None:
    for i, run in enumerate(together(tiny_task, [RECIPE, replace(RECIPE, seed=1)])):
        loaded = Run.load(run.save(tmp_path / str(i)))
        assert_same(replace(loaded, history=run.history), run, 0)
        assert torch.equal(loaded.history.loss, run.history.loss)
        scores = evaluator([Variant(run.adapter), Variant(loaded.adapter)], outputs=True)
        assert torch.equal(*scores.logits)
