"""Many trainings at once: as rows of one batch on one frozen base where they can, in processes of their own where not."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.peft_model import twin, without_adapters
from coto_lab.adapters.stack import AdapterStack
from coto_lab.ground.caller import warn_user
from coto_lab.ground.device import default_device
from coto_lab.ground.lists import list_of
from coto_lab.ground.numbers import whole_number
from coto_lab.ground.randomness import OwnRandomNumbers
from coto_lab.tasks.check import check_task, fresh_base, try_task
from coto_lab.tasks.task import Task, modules_to_save_of, to_device
from coto_lab.training.dropped import warn_of_dropped_blocks, without_word_of_start
from coto_lab.training.history import History
from coto_lab.training.loop import Training
from coto_lab.training.many_adapters import ManyAdapters, groups_of
from coto_lab.training.recipe import Recipe
from coto_lab.training.run import Run
from coto_lab.training.step import Outcome, take_step


def fit_many(
    task: Task, recipes: Sequence[Recipe], *, max_rows: int = 10, n_jobs: int | None = None, progress: bool = True
) -> list[Run]:
    """Train one adapter per recipe; each run is the one that `fit` makes, up to rounding.

    Recipes without adapter dropout whose updates are s·BA (LoRA, rsLoRA, LoRA+, PiSSA, OLoRA, LoRA-Pro) and that agree in
    method, rank, alpha, steps and batch size share one base: their batches go through it as one, and each meets its own adapter
    (`LoRALinear` with rows). Schedule, tilt, seed, learning rate, warm-up, decay, clipping and weight decay may differ. An
    adapter that a row drops gets no update, no decay and no change of moments, as in `fit`. All other recipes are trained by
    themselves, in processes side by side, and so are all recipes where the task has new layers that train whole
    (``modules_to_save``).

    Rounding: in float64 the two agree to 1e-9. In float32, after 800 steps on the digits, the weights of ten runs (five seeds
    of LoRA and of CoTo) differed from those of `fit` by at most 7e-6 of their length, and the losses by at most 4e-6 nats.

    A run whose loss is no longer finite ends there: it is named in a warning, and the others train on. It is returned as it
    was before that step, with ``diverged=True``.

    Args:
        task: base model and data.
        recipes: at least one.
        max_rows: how many share the base at most.
        n_jobs: processes for those that cannot share it; None means one per CPU core, or 1 where there is an accelerator.
        progress: show a bar.

    Raises:
        TypeError: ``task`` lacks a part of the protocol; ``recipes`` is no list of Recipes.
        ValueError: no recipes; ``max_rows`` or ``n_jobs`` below 1; what `fit` raises.
    """
    from tqdm.auto import tqdm

    check_task(task)
    recipes = list_of("recipes", recipes, Recipe, "give a list of Recipes, such as [Recipe(), Recipe(seed=1)].")
    max_rows = whole_number("max_rows", max_rows, 1)
    warn_of_dropped_blocks(recipes)
    default_jobs = (os.cpu_count() or 1) if default_device().type == "cpu" else 1
    n_jobs = default_jobs if n_jobs is None else whole_number("n_jobs", n_jobs, 1)
    groups = _groups(recipes, 1 if modules_to_save_of(task) else max_rows)
    base = fresh_base(task) if any(len(group) > 1 for group in groups) else None
    together: list[list[int]] = []
    if base is not None:
        try_task(task, base.to(default_device()), "train")
        together = [group for group in groups if len(group) > 1 and _rows_are_apart(task, recipes[group[0]], base)]
    alone = [i for group in groups if group not in together for i in group]
    runs: dict[int, Run] = {}
    with tqdm(total=sum(recipe.steps for recipe in recipes), disable=not progress, unit="step") as bar:
        for group in together:
            assert base is not None
            runs |= zip(group, _fit_together(task, [recipes[i] for i in group], base, bar.update), strict=True)
        runs |= zip(alone, _fit_alone(task, [recipes[i] for i in alone], n_jobs, bar.update), strict=True)
    for run in runs.values():
        if run.diverged:
            warn_user(
                f"the loss of {run.recipe} is not finite at step {len(run.history)}: this run ends there. Try a learning rate "
                f"below lr={run.recipe.lr}."
            )
    return [runs[i] for i in range(len(recipes))]


def _groups(recipes: Sequence[Recipe], max_rows: int) -> list[list[int]]:
    """The places of the recipes that may share a base; each of the others is a group of its own."""
    alike: list[list[int]] = []
    for i, recipe in enumerate(recipes):
        company = next((members for members in alike if _share_a_base(recipe, recipes[members[0]])), None)
        if company is None:
            alike.append([i])
        else:
            company.append(i)
    return [members[k : k + max_rows] for members in alike for k in range(0, len(members), max_rows)]


def _share_a_base(a: Recipe, b: Recipe) -> bool:
    """Compared, not hashed: an option of a method may be a list."""
    rows = a.adapter_method.trains_in_rows and a.dropout == b.dropout == 0
    return rows and all(getattr(a, name) == getattr(b, name) for name in ("method", "r", "alpha", "steps", "batch_size"))


def _fit_alone(task: Task, recipes: Sequence[Recipe], n_jobs: int, advance: Callable[[int], object]) -> list[Run]:
    from joblib import Parallel, delayed

    runs = []
    n_jobs = max(1, min(n_jobs, len(recipes)))
    for run in Parallel(n_jobs=n_jobs, return_as="generator")(delayed(_train)(task, recipe) for recipe in recipes):
        runs.append(run)
        advance(run.recipe.steps)
    return runs


def _train(task: Task, recipe: Recipe) -> Run:
    with without_word_of_start():  # `fit_many` said it, once
        training = Training(task, recipe)
    try:
        for _ in training:
            pass
    except FloatingPointError:
        pass  # the run says that it diverged
    return training.run()


def trainee_of(task: Task, recipes: Sequence[Recipe], base: nn.Module) -> ManyAdapters:
    """The adapters of several recipes at their start, as rows on a copy of ``base``, which stays as it is."""
    if not recipes[0].adapter_method.rewrites_base:
        return ManyAdapters(task, recipes, twin(base), [_start(twin(base), task, recipe) for recipe in recipes])
    model = recipes[0].put_on(copy.deepcopy(base), task.target_modules)
    start = _plain(Adapter.from_model(model))  # no random numbers are drawn, so it is the start of all rows
    return ManyAdapters(task, recipes, without_adapters(model), [start] * len(recipes))


def _plain(start: Adapter) -> Adapter:
    """As a LoRA on the weights as they are now; a start that rewrites them (PiSSA) would do so once more."""
    return replace(start, config=start.config | {"init_lora_weights": True})


def _fit_together(task: Task, recipes: Sequence[Recipe], base: nn.Module, advance: Callable[[int], object]) -> list[Run]:
    trainee = trainee_of(task, recipes, base)
    alive = torch.ones(len(recipes), dtype=torch.bool)
    outcomes: list[Outcome] = []
    seconds: list[float] = []
    for t in range(recipes[0].steps):
        started = time.perf_counter()
        outcome = take_step(task, trainee, recipes, t, alive)
        alive = outcome.moving
        outcomes.append(outcome)
        seconds.append((time.perf_counter() - started) / len(recipes))
        advance(len(recipes))
        if not alive.any():
            advance(len(recipes) * (recipes[0].steps - t - 1))
            break
    loss, norms, moving = (
        torch.stack([getattr(outcome, name) for outcome in outcomes]) for name in ("loss", "grad_norm", "moving")
    )  # [T, R], [T, R, n_modules], [T, R]
    runs = []
    for row, recipe in enumerate(recipes):
        n = int(moving[:, row].sum())  # the steps that it took before its loss was not finite
        history = History(
            trainee.gates,
            trainee.modules,
            trainee.gate_of_module,
            loss=loss[:n, row].clone(),
            lr=torch.tensor([recipe.learning_rate(t) for t in range(n)], dtype=torch.float64),
            p=torch.tensor([recipe.schedule(t / recipe.steps) for t in range(n)], dtype=torch.float64),
            seconds=torch.tensor(seconds[:n], dtype=torch.float64),
            mask=trainee.masks[row, :n].clone(),
            module_grad_norm=norms[:n, row].clone(),
        )
        runs.append(Run(trainee.adapter(row), history, recipe, task.name, task.base, diverged=n < recipe.steps))
    return runs


def _rows_are_apart(task: Task, recipe: Recipe, base: nn.Module) -> bool:
    """Whether rows train as they would alone: linear targets, and a base that mixes no rows and draws no random numbers."""
    device = default_device()
    start = _plain(_start(copy.deepcopy(base) if recipe.adapter_method.rewrites_base else twin(base), task, recipe))
    try:
        rows = AdapterStack(twin(base).train(), start)
        gated = sum(len(group.layers) for group in groups_of(rows))
    except (TypeError, ValueError):  # targets that are not linear, or that PEFT treats in a way of its own
        return False
    if gated < len(rows):
        return False  # layers on no block, which train at every step
    if {tensor.dtype for tensor in start.tensors.values()} != {layer.lora_A.dtype for layer in rows.layers}:
        return False  # PEFT keeps the adapters of a base in half precision in float32
    batch = to_device(task.batch("train", range(min(4, task.size("train")))), device)
    rng = OwnRandomNumbers(0, device)
    before = rng.state
    with rng.active():
        apart = rows.stay_apart(batch, partial(task.predict, rows.model))
    return apart and all(torch.equal(*states) for states in zip(before, rng.state, strict=True))


def _start(base: nn.Module, task: Task, recipe: Recipe) -> Adapter:
    """The adapter that a training by ``recipe`` starts from."""
    with OwnRandomNumbers(recipe.seed, torch.device("cpu")).active():
        model = recipe.put_on(base, task.target_modules)
        return replace(Adapter.from_model(model), base=task.base)
