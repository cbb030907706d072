"""Where an adapter comes from: a run, an adapter, or the folder of either."""

from __future__ import annotations

from pathlib import Path

from coto_lab.adapters.adapter import Adapter, is_of_run
from coto_lab.ground.caller import warn_user
from coto_lab.ground.lists import check_dict
from coto_lab.tasks.check import check_task
from coto_lab.tasks.task import Task, modules_to_save_of
from coto_lab.training.run import HISTORY, Run

Source = Run | Adapter | str | Path
"""What every probe and view takes for an adapter. A folder is one that `Run.save`, `Adapter.save` or PEFT's ``save_pretrained``
wrote."""
SOURCES: tuple[type[Source], ...] = (Run, Adapter, str, Path)


def open_source(source: Source, name: str) -> Run | Adapter:
    """The run or adapter itself; a folder is read. A run's folder without its history, or with another
    adapter saved over its own, is read as an adapter's.

    Args:
        source: a run, an adapter, or a folder.
        name: of the argument, for messages.

    Raises:
        TypeError: ``source`` is none of these.
        ValueError: a folder that cannot be read.
    """
    if isinstance(source, (str, Path)):
        folder = Path(source)
        whole = Run.is_saved_in(folder) and (folder / HISTORY).exists() and is_of_run(folder)
        return Run.load(folder) if whole else Adapter.load(folder)
    if not isinstance(source, (Run, Adapter)):
        raise TypeError(f"{name} is a {type(source).__name__}: give a Run, an Adapter, or the folder of either.")
    return source


def check_sources(name: str, sources: object) -> None:
    """Whether ``sources`` is a dict with at least one entry, as views take it: name -> `Source`; its values are not looked at.

    Raises:
        TypeError: ``sources`` is no mapping.
        ValueError: ``sources`` is empty.
    """
    check_dict(name, sources, object, "give a dict of runs, adapters or folders, such as {'CoTo': run}.")


def adapter_of(task: Task, source: Source, name: str) -> Adapter:
    """The adapter of ``source``, if it is one for the base model of ``task``.

    Args:
        task: what it is to be scored on.
        source: a run, an adapter, or a folder.
        name: of the argument, for messages.

    Raises:
        TypeError: ``source`` is none of these; ``task`` lacks a part of the protocol.
        ValueError: it was trained on another base model, or, as far as it says so, on another task; it lacks new layers of
            the task; a folder that cannot be read.

    Warns:
        UserWarning: it does not say which base model it was trained on. Whoever scores it looks at names and shapes.
    """
    check_task(task)
    source = open_source(source, name)
    check_base(task, source.base, name, source.task if isinstance(source, Run) else None)
    check_new_layers(task, source.adapter if isinstance(source, Run) else source, name)
    if isinstance(source, Run):
        if source.task != task.name:
            raise ValueError(
                f"{name} was trained on task {source.task!r}, not on {task.name!r}: its scores here would say little about it. "
                f"Load the task that it was trained on; to mix runs of several tasks, use merge()."
            )
        return source.adapter
    if source.base is None:
        warn_user(
            f"{name} does not say by a hash which base model it was trained on (its configuration names "
            f"{source.config.get('base_model_name_or_path')!r}). Only names and shapes of its tensors are compared with the "
            f"base of task {task.name!r}: make sure that it is the same model."
        )
    return source


def check_base(task: Task, base: str | None, name: str, trained_on: str | None = None) -> None:
    """Whether an adapter of the base model ``base`` may be put on the base model of ``task``.

    Args:
        task: what the adapter is to be scored on.
        base: identity of its base model; None where it is not known.
        name: of the argument, for the message.
        trained_on: name of the task that it was trained on, if that is known.

    Raises:
        ValueError: it is another base model.
    """
    if base is not None and base != task.base:
        of = f" (task {trained_on!r})" if trained_on is not None else ""
        raise ValueError(
            f"{name} was trained on another base model{of}, {_short(base)!r}, than task {task.name!r} has, "
            f"{_short(task.base)!r}: an adapter means nothing on another base. Load the task that it was trained on."
        )


def check_new_layers(task: Task, adapter: Adapter, name: str) -> None:
    """Whether an adapter holds all layers that are new in the base model of ``task``, which are random there.

    Args:
        task: what the adapter is to be scored on.
        adapter: to be scored.
        name: of the argument, for the message.

    Raises:
        ValueError: it lacks one.
    """
    held = [f".{key}" for key in adapter.apart()[1]]
    if lacking := [end for end in modules_to_save_of(task) if not any(f".{end}." in key for key in held)]:
        raise ValueError(
            f"{name} does not hold {', '.join(map(repr, lacking))}, which is new in the base model of task {task.name!r} and "
            "random there, so its scores would mean nothing. Train it with PEFT's "
            f"modules_to_save={list(modules_to_save_of(task))}, or save it again with all that was trained."
        )


def _short(base: str) -> str:
    """A name in full, and of a hash the beginning."""
    return base if len(base) < 64 else base[:12]
