"""The part of a test set that a view scores, so that it answers at once."""

from __future__ import annotations

from coto_lab.ground.numbers import whole_number
from coto_lab.tasks import Task


def part_of(task: Task, images: int) -> tuple[Task, str]:
    """The task with at most so many test images, evenly spaced, and what a sentence calls them.

    Raises:
        ValueError: ``images`` below 1.
    """
    step = -(-len(task.test) // whole_number("images", images, 1))
    return task.every(step), "test images" if step == 1 else f"test images (one in {step} of the test set)"
