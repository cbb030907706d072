"""The part of a test set that a view scores; it is small, so that the view reacts at once."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from coto_lab.figures.examples import kind_of
from coto_lab.ground.numbers import whole_number
from coto_lab.tasks import Example, Part, Task
from coto_lab.tasks.check import check_task


@dataclass(frozen=True, eq=False)
class Scored:
    """Test examples that a view scores and shows.

    Attributes:
        task: the task with these N test examples alone.
        examples: all N examples in the form in which they are shown.
        labels: classes of the examples, int64 ``[N]``; None for tasks without classes.
        words: the words for these examples in a sentence, such as ``"test images (one in 4 of the test set)"``.
    """

    task: Part
    examples: list[Example]
    labels: Tensor | None
    words: str

    @property
    def kind(self) -> str:
        """The word for one of these examples: ``"image"`` or ``"example"``."""
        return kind_of(self.examples)


def evenly_spaced(task: Task, images: int) -> Scored:
    """At most ``images`` test examples, evenly spaced over the test set.

    Raises:
        TypeError: ``task`` lacks a part of the protocol.
        ValueError: ``images`` is below 1; there are no test examples; ``show`` of the task does not return one `Example` for
            each test example.
    """
    check_task(task)
    if task.size("test") < 1:
        raise ValueError(f"task {task.name!r} has no test examples, so there is nothing to show.")
    step = -(-task.size("test") // whole_number("images", images, 1))
    part = Part(task, step)
    places = range(part.size("test"))
    examples = part.show("test", places)
    if len(examples) != len(places) or not all(isinstance(example, Example) for example in examples):
        raise ValueError(
            f"show of task {task.name!r} must return one Example for each of the {len(places)} places it is given."
        )
    labels = part.batch("test", places)["labels"] if task.classes else None
    kind = f"test {kind_of(examples)}s"
    return Scored(part, examples, labels, kind if step == 1 else f"{kind} (one in {step} of the test set)")
