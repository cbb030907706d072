"""Recipes whose adapters train as rows of one batch on one frozen base: which may, and how they do."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.peft_model import twin, without_adapters
from coto_lab.adapters.stack import AdapterStack
from coto_lab.ground.device import default_device
from coto_lab.ground.randomness import OwnRandomNumbers
from coto_lab.tasks.task import Task, to_device
from coto_lab.training.history import History
from coto_lab.training.many_adapters import ManyAdapters, groups_of
from coto_lab.training.recipe import Recipe
from coto_lab.training.run import Run
from coto_lab.training.step import Outcome, take_step


def may_share(a: Recipe, b: Recipe) -> bool:
    """Whether two recipes may train as rows of one base, if the task's base lets rows train apart."""
    rows = a.adapter_method.trains_in_rows and a.dropout == b.dropout == 0
    # Compared, not hashed: an option of a method may be a list.
    return rows and all(getattr(a, name) == getattr(b, name) for name in ("method", "r", "alpha", "steps", "batch_size"))


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


def fit_together(task: Task, recipes: Sequence[Recipe], base: nn.Module, advance: Callable[[int], object]) -> list[Run]:
    """The runs of recipes that may share ``base``, which stays as it is; ``advance`` is told of every step of all rows."""
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


def rows_are_apart(task: Task, recipe: Recipe, base: nn.Module) -> bool:
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
