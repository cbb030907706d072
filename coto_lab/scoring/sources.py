"""Where an adapter comes from: a run, an adapter, or the folder of either."""

from __future__ import annotations

import warnings
from pathlib import Path

from coto_lab.adapters.adapter import Adapter
from coto_lab.tasks.task import Task
from coto_lab.training.run import Run

Source = Run | Adapter | str | Path
"""What every probe and view takes for an adapter. A folder is one that `Run.save`, `Adapter.save` or PEFT's ``save_pretrained``
wrote."""


def open_source(source: Source, name: str) -> Run | Adapter:
    """The run or adapter itself; a folder is read.

    Args:
        source: a run, an adapter, or a folder.
        name: of the argument, for messages.

    Raises:
        TypeError: ``source`` is none of these.
        ValueError: a folder that cannot be read.
    """
    if isinstance(source, (str, Path)):
        folder = Path(source)
        return Run.load(folder) if Run.is_saved_in(folder) else Adapter.load(folder)
    if not isinstance(source, (Run, Adapter)):
        raise TypeError(f"{name} is a {type(source).__name__}: give a Run, an Adapter, or the folder of either.")
    return source


def adapter_of(task: Task, source: Source, name: str) -> Adapter:
    """The adapter of ``source``, if it is one for the base model of ``task``.

    Args:
        task: what it is to be scored on.
        source: a run, an adapter, or a folder.
        name: of the argument, for messages.

    Raises:
        TypeError: ``source`` is none of these.
        ValueError: it was trained on another base model, or, as far as it says so, on another task; a folder that cannot be
            read.

    Warns:
        UserWarning: it does not say which base model it was trained on. Whoever scores it looks at names and shapes.
    """
    source = open_source(source, name)
    of = f" (task {source.task!r})" if isinstance(source, Run) else ""
    if source.base is not None and source.base != task.base:
        raise ValueError(
            f"{name} was trained on another base model{of}, {source.base[:12]!r}, than task {task.name!r} has, "
            f"{task.base[:12]!r}: an adapter means nothing on another base. Load the task that it was trained on."
        )
    if isinstance(source, Run):
        if source.task != task.name:
            raise ValueError(
                f"{name} was trained on task {source.task!r}, not on {task.name!r}: its scores here would say little about it. "
                f"Load the task that it was trained on; to mix runs of several tasks, use merge()."
            )
        return source.adapter
    if source.base is None:
        warnings.warn(
            f"{name} does not say by a hash which base model it was trained on (its configuration names "
            f"{source.config.get('base_model_name_or_path')!r}). Only names and shapes of its tensors are compared with the "
            f"base of task {task.name!r}: make sure that it is the same model.",
            UserWarning,
            stacklevel=3,
        )
    return source
