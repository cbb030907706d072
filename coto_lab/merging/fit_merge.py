"""Merging that learns from the tasks' training data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor, nn
from torch.nn.utils import parametrize

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.names import PREFIX
from coto_lab.ground.device import default_device
from coto_lab.ground.lists import list_of
from coto_lab.ground.randomness import batch_indices
from coto_lab.merging.merge import in_single, merge
from coto_lab.merging.rule import Rule
from coto_lab.merging.updates import factors_of
from coto_lab.merging.zip import Columns, Zip, zipped
from coto_lab.scoring.sources import SOURCES, Source, check_base, open_source
from coto_lab.tasks.check import check_task, fresh_base, try_task
from coto_lab.tasks.task import Batch, Task, generates, modules_to_save_of, to_device
from coto_lab.training.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TRIED = 64  # training examples by which an adapter is compared with the base model, at most


@dataclass(frozen=True, eq=False)
class Merged:
    """What `fit_merge` learned.

    Attributes:
        adapter: a plain LoRA whose rank is the sum of the ranks.
        coefficients: the base's own name of each adapted module -> float32 ``[n, in]``, for each of n adapters one number per
            input column.
        start: all coefficients at the beginning.
        losses: what was minimised, before each step: float64 ``[steps]``.
        distances: the part of each task: the mean squared distance to what its own adapter predicts, float64 ``[steps, n]``.
    """

    adapter: Adapter
    coefficients: Mapping[str, Float[Tensor, "n in"]]
    start: float
    losses: Float64[Tensor, " steps"]
    distances: Float64[Tensor, "steps n"]

    @property
    def moved(self) -> float:
        """How far a coefficient is from the start, as a mean over all of them; near 0, nothing was learned."""
        return torch.cat([(own - self.start).abs().flatten() for own in self.coefficients.values()]).mean().item()


def fit_merge(tasks: Sequence[Task], adapters: Sequence[Source], how: Zip | None = None, *, progress: bool = True) -> Merged:
    """Merge LoRA adapters by coefficients that are learned from the training data of their tasks; nothing is written.

    The labels are not used: the merged model is to predict what each adapter by itself predicts for its own task. torch's
    global random state is left untouched.

    Args:
        tasks: what the adapters were trained on, in their order; all on one base model.
        adapters: plain LoRA, of any ranks; runs stand for their adapters, and folders for what is in them.
        how: the rule with its options; None takes ``Zip()``.
        progress: show a bar.

    Raises:
        TypeError: ``tasks`` or ``adapters`` is no list of such, a task lacks a part of the protocol, or ``how`` is no rule that
            learns.
        ValueError: not as many tasks as adapters; different bases; adapters that `coto_lab.merging.merge` refuses, or that are
            no plain LoRA; a run on another task, or an adapter that on training data of its task is not better than the base
            model, or has more than twice the loss of another task's adapter; a task that writes its answers, or has new layers.
        FloatingPointError: the loss is no longer finite.
    """
    from tqdm.auto import tqdm

    rule = Zip() if how is None else how
    if not isinstance(rule, Zip):
        raise TypeError(f"how={how!r}: give a rule that learns, such as Zip(steps=200). For other rules, use merge().")
    own_tasks = _checked_tasks(tasks)
    items = list_of("adapters", adapters, SOURCES, "give a list of runs, adapters or their folders.")
    sources = [open_source(item, f"adapters[{i}]") for i, item in enumerate(items)]
    _check_pairs(own_tasks, sources)
    parts = [in_single(item.adapter if isinstance(item, Run) else item) for item in sources]
    model = _Zipped(own_tasks, parts, merge(sources, _Sum()), rule)  # `merge` looks at the adapters
    for i, source in enumerate(sources):
        if isinstance(source, Adapter):
            model.check_trained(own_tasks, i)

    optimizer = torch.optim.Adam(model.coefficients, lr=rule.lr)
    losses, distances = [], []
    with tqdm(total=rule.steps, disable=not progress, unit="step") as bar:
        for step in range(rule.steps):
            found = []
            for i, task in enumerate(own_tasks):  # one after the other: the graph of one task is in memory at a time
                distance = model.distance(task, i, step)
                distance.backward()
                found.append(distance.item())
            overlap = rule.penalty * model.overlap()
            overlap.backward()
            losses.append(sum(found) + overlap.item())
            distances.append(found)
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(f"the loss of step {step} is {losses[-1]}; try a learning rate below lr={rule.lr}.")
            optimizer.step()
            optimizer.zero_grad()
            bar.update()
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    adapter, coefficients = model.result()
    return Merged(
        replace(adapter, base=own_tasks[0].base),
        coefficients,
        model.start,
        torch.tensor(losses, dtype=torch.float64),
        torch.tensor(distances, dtype=torch.float64),
    )


@dataclass(frozen=True)
class _Sum(Rule):
    """All coefficients are 1: the factors, stacked along the rank."""

    def merged(self, adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
        factors = factors_of(adapters)
        ones = {name: torch.ones(len(adapters), own[0][0].shape[1]) for name, own in factors.items()}
        return zipped(factors, ones, adapters[0])


def _checked_tasks(tasks: object) -> list[Task]:
    """The tasks, if coefficients can be learned from them."""
    found: list[Any] = list_of("tasks", tasks, object, "give a list of tasks, such as [load_task('glyphs/turned'), ...].")
    for i, task in enumerate(found):
        check_task(task)
        if task.base != found[0].base:
            raise ValueError(
                f"tasks[{i}] ({task.name!r}) has another base model than tasks[0] ({found[0].name!r}). Merge adapters of one "
                "base model."
            )
        if modules_to_save_of(task) or generates(task):
            raise ValueError(
                f"task {task.name!r} has new layers or writes its answers: coefficients are learned from the predictions of "
                "one forward pass of one model."
            )
    return found


def _check_pairs(tasks: Sequence[Task], sources: Sequence[Run | Adapter]) -> None:
    """ValueError unless each adapter can be one of the task in its place."""
    if len(tasks) != len(sources):
        raise ValueError(f"there are {len(tasks)} tasks and {len(sources)} adapters: give each adapter's own task.")
    for i, (task, source) in enumerate(zip(tasks, sources, strict=True)):
        check_base(task, source.base, f"adapters[{i}]", source.task if isinstance(source, Run) else None)
        if isinstance(source, Run) and source.task != task.name:
            raise ValueError(
                f"adapters[{i}] was trained on task {source.task!r}, and tasks[{i}] is {task.name!r}. Give tasks and adapters "
                "in one order."
            )


class _Zipped:
    """A PEFT model that holds all adapters as one, and the coefficients in it.

    With the coefficients 1 for one adapter and 0 for the others, it is the model of this adapter; with 0 for all, the base.
    """

    def __init__(self, tasks: Sequence[Task], adapters: Sequence[Adapter], stacked: Adapter, rule: Zip):
        self.rule, self.adapters = rule, adapters
        self.start = 1 / len(adapters) if rule.start is None else rule.start
        self.factors = factors_of(adapters)
        base = fresh_base(tasks[0])
        for task in tasks:
            try_task(task, base, "train")
        self.device = default_device()
        self.model: nn.Module = stacked.attach(base).to(self.device)
        self.columns: dict[str, Columns] = {}
        for name, own in self.factors.items():
            columns = Columns([len(a) for a, _ in own], own[0][0].shape[1], self.start).to(self.device)
            layer = self.model.get_submodule(name).lora_A["default"]
            parametrize.register_parametrization(layer, "weight", columns)
            self.columns[name] = columns
        self.coefficients = [columns.coefficients for columns in self.columns.values()]

    def distance(self, task: Task, i: int, step: int) -> Float[Tensor, ""]:
        """The mean squared distance between what the merged model and adapter i predict for this step's examples."""
        batch = self._batch(task, step, self.rule.batch_size)
        target = self._alone(task, batch, i)
        return (task.predict(self.model, batch).float() - target.float()).square().mean()

    def overlap(self) -> Float[Tensor, ""]:
        """Summed over layers."""
        return torch.stack([columns.overlap() for columns in self.columns.values()]).sum()

    def check_trained(self, tasks: Sequence[Task], i: int) -> None:
        """ValueError if, on training data of task i, the base model is as good as adapter i, or another task's adapter has less
        than half of its loss.
        """
        task = tasks[i]
        batch = self._batch(task, 0, min(_TRIED, task.size("train")))
        rivals = [j for j, other in enumerate(tasks) if other.name != task.name]
        own, base, *others = (task.loss(self._alone(task, batch, who), batch).mean().item() for who in (i, None, *rivals))
        better = {f"adapters[{j}]": loss for j, loss in zip(rivals, others, strict=True) if loss < own / 2}
        if not own < base:
            better = {"the base model": base}
        if better:
            name, loss = next(iter(better.items()))
            raise ValueError(
                f"adapters[{i}] was not trained on task {task.name!r}: its loss on the task's training data is {own:.3g}, and "
                f"that of {name} is {loss:.3g}. Give tasks and adapters in one order."
            )

    def result(self) -> tuple[Adapter, dict[str, Tensor]]:
        """The merged adapter, and the coefficients by the base's own names."""
        found = {name: columns.coefficients.detach().cpu().clone() for name, columns in self.columns.items()}
        adapter = zipped(self.factors, found, self.adapters[0])
        return adapter, {name.removeprefix(PREFIX): own for name, own in found.items()}

    def _batch(self, task: Task, step: int, size: int) -> Batch:
        indices = batch_indices(task.size("train"), size, self.rule.seed, step)
        return to_device(task.batch("train", indices), self.device)

    @torch.no_grad()
    def _alone(self, task: Task, batch: Batch, i: int | None) -> Shaped[Tensor, "n ..."]:
        """What adapter i by itself predicts, or, for None, the base."""
        learned = [own.detach().clone() for own in self.coefficients]
        for own in self.coefficients:
            own.zero_()
            if i is not None:
                own[i] = 1
        prediction = task.predict(self.model, batch)
        for own, value in zip(self.coefficients, learned, strict=True):
            own.copy_(value)
        return prediction
