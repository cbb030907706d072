"""Many trainings at once: as rows of one batch on one frozen base where they can, in processes of their own where not."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.layers import PREFIX
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.adapters.rows import Rows
from coto_lab.gating.coto import training_masks
from coto_lab.gating.grouping import Group, group_layers
from coto_lab.ground.device import default_device
from coto_lab.ground.numbers import whole_number
from coto_lab.ground.randomness import OwnRandomNumbers, batch_indices
from coto_lab.tasks import Task
from coto_lab.training.history import History
from coto_lab.training.loop import Training
from coto_lab.training.recipe import Recipe
from coto_lab.training.run import Run


def fit_many(
    task: Task, recipes: Sequence[Recipe], *, max_rows: int = 10, n_jobs: int | None = None, progress: bool = True
) -> list[Run]:
    """Train one adapter per recipe; each run is the one that `fit` makes, up to rounding.

    LoRA recipes without adapter dropout that agree in rank, alpha, steps and batch size share one base: their batches go
    through it as one, and each meets its own adapter (`LoRALinear` with rows). Schedule, tilt, seed, learning rate, warm-up,
    decay, clipping and weight decay may differ. An adapter that a row drops gets no update, no decay and no change of moments,
    as in `fit`. All other recipes are trained by themselves, in processes side by side.

    Rounding: in float64 the two agree to 1e-9. In float32, after 800 steps on the digits, the weights of ten runs (five seeds
    of LoRA and of CoTo) differed from those of `fit` by at most 7e-6 of their length, and the losses by at most 4e-6 nats.

    A run whose loss is no longer finite ends there: it is named in a warning, and the others train on. It is returned as it
    was before that step; its history is shorter than its recipe's steps.

    Args:
        task: base model and data.
        recipes: at least one.
        max_rows: how many share the base at most.
        n_jobs: processes for those that cannot share it; None means one per CPU core, or 1 where there is an accelerator.
        progress: show a bar.

    Raises:
        ValueError: no recipes; ``max_rows`` or ``n_jobs`` below 1; what `fit` raises.
    """
    from tqdm.auto import tqdm

    if not recipes:
        raise ValueError("recipes is empty: give at least one.")
    max_rows = whole_number("max_rows", max_rows, 1)
    default_jobs = (os.cpu_count() or 1) if default_device().type == "cpu" else 1
    n_jobs = default_jobs if n_jobs is None else whole_number("n_jobs", n_jobs, 1)
    alike: dict[tuple[object, ...], list[int]] = {}
    for i, recipe in enumerate(recipes):
        stackable = recipe.method == "lora" and recipe.dropout == 0
        key = (recipe.r, recipe.alpha, recipe.steps, recipe.batch_size) if stackable else ("alone", i)
        alike.setdefault(key, []).append(i)
    groups = [members[k : k + max_rows] for members in alike.values() for k in range(0, len(members), max_rows)]
    if any(len(group) > 1 for group in groups) and not _rows_are_apart(task):
        groups = [[i] for i in range(len(recipes))]
    runs: dict[int, Run] = {}
    with tqdm(total=sum(recipe.steps for recipe in recipes), disable=not progress, unit="step") as bar:
        for group in groups:
            if len(group) > 1:
                runs |= zip(group, _Fleet(task, [recipes[i] for i in group]).train(bar.update), strict=True)
        alone = [group[0] for group in groups if len(group) == 1]
        runs |= zip(alone, _fit_alone(task, [recipes[i] for i in alone], n_jobs, bar.update), strict=True)
    for run in runs.values():
        if len(run.history) < run.recipe.steps:
            warnings.warn(
                f"the loss of {run.recipe} is not finite at step {len(run.history)}: this run ends there. Try a learning rate "
                f"below lr={run.recipe.lr}.",
                UserWarning,
                stacklevel=2,
            )
    return [runs[i] for i in range(len(recipes))]


def _fit_alone(task: Task, recipes: Sequence[Recipe], n_jobs: int, advance: Callable[[int], object]) -> list[Run]:
    from joblib import Parallel, delayed

    runs = []
    n_jobs = max(1, min(n_jobs, len(recipes)))
    for run in Parallel(n_jobs=n_jobs, return_as="generator")(delayed(_train)(task, recipe) for recipe in recipes):
        runs.append(run)
        advance(run.recipe.steps)
    return runs


def _train(task: Task, recipe: Recipe) -> Run:
    training = Training(task, recipe)
    try:
        for _ in training:
            pass
    except FloatingPointError:
        pass  # fit_many names the run, which is shorter than its recipe says
    return training.run()


def _rows_are_apart(task: Task) -> bool:
    """Whether rows train as they would alone: linear targets, and a base that mixes no rows and draws no random numbers."""
    device, start = default_device(), _start(task, Recipe())
    try:
        rows = Rows(task.load_base().to(device).train(), start)
        gated = sum(len(group.layers) for group in _groups(rows))
    except (TypeError, ValueError):  # targets that are not linear, or that PEFT treats in a way of its own
        return False
    if gated < len(rows):
        return False  # layers on no block, which train at every step
    if {tensor.dtype for tensor in start.tensors.values()} != {layer.lora_A.dtype for layer in rows.layers}:
        return False  # PEFT keeps the adapters of a base in half precision in float32
    batch = {name: column[:4].to(device) for name, column in task.train_batch.items()}
    rng = OwnRandomNumbers(0, device)
    before = rng.state
    with rng.active():
        apart = rows.stay_apart(batch, partial(task.logits, rows.model))
    return apart and all(torch.equal(*states) for states in zip(before, rng.state, strict=True))


class _Fleet:
    """R trainings on one base: row i of every layer, of the batch and of the records belongs to recipe i."""

    def __init__(self, task: Task, recipes: Sequence[Recipe]):
        self.task, self.recipes, self.device = task, recipes, default_device()
        self.starts = [_start(task, recipe) for recipe in recipes]
        self.rows = Rows(task.load_base().to(self.device).train(), self.starts[0])
        groups = _groups(self.rows)
        self.gates = tuple(group.gate for group in groups)
        self.modules = tuple(name for group in groups for name in group.layers)
        self.gate_of_module = torch.tensor([i for i, group in enumerate(groups) for _ in group.layers])
        self.layers = [self.rows.layers[self.rows.names.index(name)] for name in self.modules]
        self.masks = torch.stack(
            [
                training_masks(
                    [group.tower for group in groups],
                    recipe.schedule,
                    total_steps=recipe.steps,
                    seed=recipe.seed,
                    tilt=recipe.tilt,
                )
                for recipe in recipes
            ]
        )  # [R, T, gates]
        self._parameters: list[nn.Parameter] = []  # A and B of every layer, [R, ...]
        for name, layer in zip(self.modules, self.layers, strict=True):
            layer.scaling = recipes[0].alpha / recipes[0].r
            for factor in ("lora_A", "lora_B"):
                start = torch.stack([adapter.tensors[f"{PREFIX}{name}.{factor}.weight"] for adapter in self.starts])
                setattr(layer, factor, nn.Parameter(start.to(self.device)))
                self._parameters.append(getattr(layer, factor))
        # The optimiser sees a parameter of its own for each row: a view, so that its updates are those of the stack, and
        # a gradient of None leaves the row, its decay, its moments and its step count alone.
        self._views = [[nn.Parameter(parameter.data[i]) for parameter in self._parameters] for i in range(len(recipes))]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": views, "lr": recipe.lr, "weight_decay": recipe.weight_decay}
                for views, recipe in zip(self._views, recipes, strict=True)
            ],
            fused=True,
        )

    def train(self, advance: Callable[[int], object]) -> list[Run]:
        """Take all steps; the runs of the rows."""
        steps = self.recipes[0].steps
        lengths = torch.full((len(self.recipes),), steps)  # steps that each row took before its loss was not finite
        losses, norms, seconds = [], [], []
        for t in range(steps):
            started = time.perf_counter()
            loss, norm = self._step(t, alive=lengths > t)
            lengths = torch.where((lengths > t) & ~loss.isfinite(), t, lengths)
            losses.append(loss)
            norms.append(norm)
            seconds.append((time.perf_counter() - started) / len(self.recipes))
            advance(len(self.recipes))
        columns = torch.stack(losses, dim=1), torch.stack(norms, dim=1), torch.tensor(seconds, dtype=torch.float64)
        return [self._run(i, int(length), *columns) for i, length in enumerate(lengths)]

    def _step(self, t: int, alive: Tensor) -> tuple[Tensor, Tensor]:
        """One optimiser step of the rows ``alive``: losses float64 ``[R]`` and gradient norms float32 ``[R, n_modules]``."""
        masks = self.masks[:, t] & alive[:, None]  # [R, gates]
        for group, recipe in zip(self.optimizer.param_groups, self.recipes, strict=True):
            group["lr"] = recipe.learning_rate(t)
        for layer, gate in zip(self.layers, self.gate_of_module, strict=True):
            layer.gate = masks[:, gate]
        batch = self._batch(t)
        logits = self.task.logits(self.rows.model, batch)
        loss = F.cross_entropy(logits, batch["labels"], reduction="none").view(len(self.recipes), -1).mean(1)
        values = loss.detach().double().cpu()
        moving = alive & values.isfinite()
        if moving.any():
            loss[moving.to(self.device)].sum().backward()
        norms = self._hand_out_gradients(masks & moving[:, None])
        for views, recipe in zip(self._views, self.recipes, strict=True):
            if recipe.max_grad_norm is not None:
                nn.utils.clip_grad_norm_(views, recipe.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return values, norms

    def _hand_out_gradients(self, masks: Tensor) -> Tensor:
        """Give each row's parameters their part of the gradients; norms float32 ``[R, n_modules]``, 0 where dropped."""
        squares = torch.zeros(len(self.recipes), len(self.modules), device=self.device)
        for i, parameter in enumerate(self._parameters):
            if parameter.grad is None:
                continue
            module = i // 2
            squares[:, module] += parameter.grad.flatten(1).float().square().sum(1)
            is_open = masks[:, self.gate_of_module[module]].tolist()
            for views, gradient, trains in zip(self._views, parameter.grad.unbind(), is_open, strict=True):
                views[i].grad = gradient if trains else None
            parameter.grad = None
        return squares.sqrt().cpu() * masks[:, self.gate_of_module]

    def _batch(self, t: int) -> dict[str, Tensor]:
        data = self.task.train_batch
        n = len(data["labels"])
        shares = [batch_indices(n, recipe.batch_size, recipe.seed, t) for recipe in self.recipes]
        return {name: column[torch.cat(shares)].to(self.device) for name, column in data.items()}

    def _run(self, i: int, length: int, loss: Tensor, norms: Tensor, seconds: Tensor) -> Run:
        recipe, start = self.recipes[i], self.starts[i]
        steps = range(length)
        history = History(
            self.gates,
            self.modules,
            self.gate_of_module,
            loss=loss[i, :length].clone(),
            lr=torch.tensor([recipe.learning_rate(t) for t in steps], dtype=torch.float64),
            p=torch.tensor([recipe.schedule(t / recipe.steps) for t in steps], dtype=torch.float64),
            seconds=seconds[:length].clone(),
            mask=self.masks[i, :length].clone(),
            module_grad_norm=norms[i, :length].clone(),
        )
        keys = [f"{PREFIX}{name}.{factor}.weight" for name in self.modules for factor in ("lora_A", "lora_B")]
        trained = {key: p.detach()[i].cpu().clone() for key, p in zip(keys, self._parameters, strict=True)}
        tensors = {key: trained[key] for key in start.tensors}
        return Run(Adapter(start.config, tensors), history, recipe, self.task.name, self.task.base)


def _groups(rows: Rows) -> list[Group]:
    return group_layers(rows.model, dict(zip(rows.names, rows.layers, strict=True)))


def _start(task: Task, recipe: Recipe) -> Adapter:
    """The adapter that a training by ``recipe`` starts from."""
    with OwnRandomNumbers(recipe.seed, torch.device("cpu")).active():
        return Adapter.from_model(add_adapter(task.load_base(), recipe.peft_config(task.target_modules)))
