"""Base models and their data; tasks by name."""

from __future__ import annotations

from coto_lab.tasks.classification import Classification
from coto_lab.tasks.digits import load_digits_task
from coto_lab.tasks.part import Part
from coto_lab.tasks.task import Example, Task, to_device

__all__ = ["Classification", "Example", "Part", "Task", "load_task", "to_device"]

_TASKS = {"digits": load_digits_task}


def load_task(name: str) -> Classification:
    """The task called ``name``; today ``"digits"``, which needs no download.

    Raises:
        ValueError: no such task.
    """
    if name not in _TASKS:
        raise ValueError(f"name={name!r}: no such task; there is {', '.join(map(repr, _TASKS))}.")
    return _TASKS[name]()
