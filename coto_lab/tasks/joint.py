"""Several tasks on one base as one: to train on all of them at once, and to score an adapter on all of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coto_lab.ground.lists import list_of
from coto_lab.tasks.check import check_task
from coto_lab.tasks.part import Chosen, Part, checked_places
from coto_lab.tasks.task import Batch, Example, Reads, Say, Task, generates, modules_to_save_of, reads_of, say_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Joint:
    """The examples of several tasks, those of the first task first.

    Attributes:
        tasks: at least one, on one base model, of one kind, with the same classes.
        name: as in `Task`.
        padding: of a column whose last dimension differs between tasks, what fills it up on the right, such as
            ``{"input_ids": 0, "targets": -100}``.

    Raises:
        TypeError: ``tasks`` is no list of tasks.
        ValueError: no tasks; tasks of different bases, classes, target modules or kinds, with new layers, or that write their
            answers.
    """

    tasks: Sequence[Task]
    name: str
    padding: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tasks: list[Any] = list_of("tasks", self.tasks, object, "give a list of tasks, such as [load_task('digits')].")
        for task in tasks:
            check_task(task)
        object.__setattr__(self, "tasks", tuple(tasks))
        first = tasks[0]
        for name in ("base", "classes", "target_modules"):
            if other := next((task for task in tasks if getattr(task, name) != getattr(first, name)), None):
                raise ValueError(
                    f"tasks {first.name!r} and {other.name!r} differ in {name}: {getattr(first, name)!r} and "
                    f"{getattr(other, name)!r}. Only tasks on one base model that answer alike can be joined."
                )
        kind, own = _kind(first), [_kind(task) for task in tasks]
        if odd := next((task for task, other in zip(tasks, own, strict=True) if other is not kind), None):
            raise ValueError(
                f"tasks {first.name!r} and {odd.name!r} are of the kinds {kind.__name__} and {_kind(odd).__name__}."
            )
        if unfit := next((task for task in tasks if modules_to_save_of(task) or generates(task)), None):
            raise ValueError(f"task {unfit.name!r} has new layers or writes its answers: such tasks cannot be joined.")

    @property
    def base(self) -> str:
        """The tasks'."""
        return self.tasks[0].base

    @property
    def target_modules(self) -> tuple[str, ...]:
        """The tasks'."""
        return self.tasks[0].target_modules

    @property
    def classes(self) -> tuple[str, ...]:
        """The tasks'."""
        return self.tasks[0].classes

    def load_base(self) -> PreTrainedModel:
        """A fresh copy of the base model."""
        return self.tasks[0].load_base()

    def every(self, step: int) -> Part:
        """Every ``step``-th test example, counted over all tasks."""
        return Part(self, step)

    def size(self, split: str) -> int:
        """How many examples all tasks have together."""
        return sum(task.size(split) for task in self.tasks)

    def places(self, split: str) -> list[range]:
        """Where each task's examples are."""
        ends = list(accumulate((task.size(split) for task in self.tasks), initial=0))
        return [range(start, end) for start, end in pairwise(ends)]

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """The examples at these places, in this order; shorter columns are filled up with ``padding``.

        Raises:
            IndexError: a place at which there is no example.
            ValueError: no places; columns differ between the tasks; ``padding`` lacks one whose lengths differ.
        """
        wanted = torch.tensor(checked_places(indices, self, split))
        if not len(wanted):
            raise ValueError("indices is empty: a batch has at least one example.")
        parts, order = [], []
        for task, own in zip(self.tasks, self.places(split), strict=True):
            here = ((wanted >= own.start) & (wanted < own.stop)).nonzero()[:, 0]
            if len(here):
                parts.append(task.batch(split, wanted[here] - own.start))
                order.append(here)
        if odd := next((part for part in parts if part.keys() != parts[0].keys()), None):
            raise ValueError(f"the tasks' batches have different columns: {list(parts[0])} and {list(odd)}.")
        back = torch.cat(order).argsort()
        return {name: self._joined(name, [part[name] for part in parts])[back] for name in parts[0]}

    def _joined(self, name: str, columns: list[Tensor]) -> Tensor:
        length = max(column.shape[-1] for column in columns)
        if columns[0].dim() > 1 and any(column.shape[-1] < length for column in columns):
            if name not in self.padding:
                raise ValueError(f"column {name!r} has different lengths in the tasks: padding must say what fills it up.")
            columns = [F.pad(column, (0, length - column.shape[-1]), value=self.padding[name]) for column in columns]
        return torch.cat(columns)

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """As the tasks do."""
        return self.tasks[0].predict(model, batch)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """As the tasks do."""
        return self.tasks[0].loss(prediction, batch)

    def measure(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """As the tasks do."""
        return self.tasks[0].measure(prediction, batch)

    @property
    def say(self) -> Say:
        """The tasks'; AttributeError, and so no ``say``, where they have none."""
        say = say_of(self.tasks[0])
        if say is None:
            raise AttributeError("say")
        return say

    @property
    def reads(self) -> Reads:
        """The tasks'; AttributeError, and so no ``reads``, where they have none."""
        reads = reads_of(self.tasks[0])
        if reads is None:
            raise AttributeError("reads")
        return reads

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        """The examples at these places, for people."""
        shown = []
        for index in checked_places(indices, self, split):
            task, own = next((t, o) for t, o in zip(self.tasks, self.places(split), strict=True) if index in o)
            shown += task.show(split, [index - own.start])
        return shown


def _kind(task: Task) -> type:
    """The class of a task; of a part, that of the whole."""
    return _kind(task.task) if isinstance(task, (Part, Chosen)) else type(task)
