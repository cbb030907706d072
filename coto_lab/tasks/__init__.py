"""Tasks by name."""

from __future__ import annotations

from coto_lab.tasks.digits import load_digits_task
from coto_lab.tasks.task import Task

__all__ = ["Task", "load_task"]

_TASKS = {"digits": load_digits_task}


def load_task(name: str) -> Task:
    """The task called ``name``; today ``"digits"``, which needs no download.

    Raises:
        ValueError: no such task.
    """
    if name not in _TASKS:
        raise ValueError(f"name={name!r}: no such task; there is {', '.join(map(repr, _TASKS))}.")
    return _TASKS[name]()
