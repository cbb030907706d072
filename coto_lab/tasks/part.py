"""A part of a task's test set: every so many-th example, or chosen ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from coto_lab.ground.lists import list_of
from coto_lab.ground.numbers import whole_number
from coto_lab.tasks.task import Batch, Example, Reads, Say, Task, generates, modules_to_save_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class _OfTask:
    """All that a part has from its task."""

    task: Task

    @property
    def name(self) -> str:
        """The task's."""
        return self.task.name

    @property
    def base(self) -> str:
        """The task's."""
        return self.task.base

    @property
    def target_modules(self) -> tuple[str, ...]:
        """The task's."""
        return self.task.target_modules

    @property
    def classes(self) -> tuple[str, ...]:
        """The task's."""
        return self.task.classes

    def load_base(self) -> PreTrainedModel:
        """A fresh copy of the base model."""
        return self.task.load_base()

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """As the task does."""
        return self.task.predict(model, batch)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """As the task does."""
        return self.task.loss(prediction, batch)

    def measure(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """As the task does."""
        return self.task.measure(prediction, batch)

    @property
    def say(self) -> Say:
        """The task's; AttributeError, and so no ``say``, where the task has none."""
        say: Say = self.task.say  # type: ignore[attr-defined]
        return say

    @property
    def modules_to_save(self) -> tuple[str, ...]:
        """The task's."""
        return modules_to_save_of(self.task)

    @property
    def generates(self) -> bool:
        """The task's."""
        return generates(self.task)

    @property
    def skeleton(self) -> Callable[[], PreTrainedModel]:
        """The task's; AttributeError, and so no ``skeleton``, where the task has none."""
        skeleton: Callable[[], PreTrainedModel] = self.task.skeleton  # type: ignore[attr-defined]
        return skeleton

    @property
    def reads(self) -> Reads:
        """The task's; AttributeError, and so no ``reads``, where the task has none."""
        reads: Reads = self.task.reads  # type: ignore[attr-defined]
        return reads


@dataclass(frozen=True, eq=False)
class Part(_OfTask):
    """A task with every ``step``-th test example, from the first one on; all else is the task's.

    Attributes:
        task: the whole.
        step: 1 takes all.

    Raises:
        ValueError: ``step`` below 1.
    """

    step: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", whole_number("step", self.step, 1))

    def every(self, step: int) -> Part:
        """Every ``step``-th example of this part."""
        return Part(self, step)

    def size(self, split: str) -> int:
        """How many examples a split has."""
        n = self.task.size(split)
        return -(-n // self.step) if split == "test" else n

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """The examples at these places of the part."""
        return self.task.batch(split, self._places(split, indices))

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        """The examples at these places of the part, for people."""
        return self.task.show(split, self._places(split, indices))

    def _places(self, split: str, indices: Sequence[int] | Tensor) -> list[int]:
        step = self.step if split == "test" else 1
        return [place * step for place in checked_places(indices, self, split)]


@dataclass(frozen=True, eq=False)
class Chosen(_OfTask):
    """A task whose test examples are chosen ones, of its test set or of its training set; all else is the task's.

    Attributes:
        task: the whole.
        places: of the chosen examples, in this order.
        split: where they are from.

    Raises:
        TypeError: ``places`` is no list of whole numbers.
        ValueError: no places, or one that the split does not have; an unknown split.
    """

    places: Sequence[int]
    split: str = "test"

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", chosen_places("places", self.places, self.task.size(self.split)))

    def every(self, step: int) -> Part:
        """Every ``step``-th chosen example."""
        return Part(self, step)

    def size(self, split: str) -> int:
        """How many examples a split has."""
        return len(self.places) if split == "test" else self.task.size(split)

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """The examples at these places among the chosen ones."""
        return self.task.batch(*self._places(split, indices))

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        """The examples at these places among the chosen ones, for people."""
        return self.task.show(*self._places(split, indices))

    def _places(self, split: str, indices: Sequence[int] | Tensor) -> tuple[str, list[int]]:
        own = checked_places(indices, self, split)
        return (self.split, [self.places[i] for i in own]) if split == "test" else (split, own)


def chosen_places(name: str, places: Sequence[int], size: int) -> tuple[int, ...]:
    """The places of some of ``size`` examples, as ints; ``name`` is the argument's.

    Raises:
        TypeError: it is no list of whole numbers.
        ValueError: no places, or one that is not there.
    """
    found: list[Any] = list_of(name, places, Integral, "give a list of whole numbers, such as [0, 5].")
    if odd := [place for place in found if not 0 <= place < size]:
        raise ValueError(f"{name} has {odd[0]}: give places from 0 to {size - 1}.")
    return tuple(int(place) for place in found)


def checked_places(indices: Sequence[int] | Tensor, task: Task, split: str) -> list[int]:
    """The indices as ints.

    Raises:
        IndexError: a place that the split does not have.
    """
    places, size = [int(i) for i in indices], task.size(split)
    if odd := [place for place in places if not 0 <= place < size]:
        raise IndexError(f"indices has {odd[0]}: the {split} split of {task.name!r} has places from 0 to {size - 1}.")
    return places
