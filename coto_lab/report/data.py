"""The task that a command line names: an embedded one, a task of GLUE, or a data set of the hub with its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from coto_lab.adapters.adapter import CONFIG
from coto_lab.ground.files import read_json
from coto_lab.tasks import load_task
from coto_lab.tasks.hub.causal import SupervisedFineTuning
from coto_lab.tasks.hub.choices import MultipleChoice
from coto_lab.tasks.hub.clip import FewShotCLIP
from coto_lab.tasks.hub.glue import glue
from coto_lab.tasks.hub.images import ImageClassification
from coto_lab.tasks.hub.sequence import SequenceClassification
from coto_lab.tasks.hub.source import Source
from coto_lab.tasks.task import Task

EMBEDDED = ("digits", "docstrings", "strings/...")
KINDS: dict[str, Callable[..., Any]] = {
    "sequence": SequenceClassification,
    "images": ImageClassification,
    "clip": FewShotCLIP,
    "causal": SupervisedFineTuning,
    "choices": MultipleChoice,
}
"""What ``--task`` calls them; the values of the columns' options are those of the class."""
_SOURCE = ("revision", "dtype", "quantised")


def named_task(
    data: str, model: str | None, kind: str | None, adapters: Sequence[str | Path], options: Mapping[str, Any]
) -> Task:
    """The task of a command line.

    Args:
        data: an embedded task; ``"glue/"`` and a task of GLUE; with ``kind="choices"`` a set of questions; else a data set.
        model: the base model; None reads its name from the first adapter's configuration.
        kind: a key of `KINDS`, for a data set.
        adapters: folders.
        options: what else was given: the name of a field of the task or of its `Source` -> value.

    Raises:
        ValueError: an option that the task does not have; no model, or no ``kind``; and what the task itself raises.
    """
    if data in EMBEDDED or data.startswith("strings/"):
        given = [name for name, value in {"model": model, "task": kind, **options}.items() if value is not None]
        if given:
            raise ValueError(f"--data {data} is a task with its own model and columns: leave out {_option(given[0])}.")
        return load_task(data)
    source = Source(model or _model_of(adapters[0]), **{name: options[name] for name in _SOURCE if name in options})
    rest = {name: value for name, value in options.items() if name not in _SOURCE}
    of_glue = data.startswith("glue/")
    if not of_glue and kind is None:
        raise ValueError(
            f"--data {data} is no task that comes with the package ({', '.join(EMBEDDED)}), so say with --task what kind of "
            f"data set it is: {', '.join(KINDS)}."
        )
    make = KINDS[kind or "sequence"]
    names = {field.name for field in fields(make)}  # type: ignore[arg-type]
    if strange := [name for name in rest if name not in names]:
        raise ValueError(f"{_option(strange[0])}: a task of the kind {kind or 'sequence'!r} has no such column or setting.")
    task: Task = glue(data.removeprefix("glue/"), source, **rest) if of_glue else make(source, data, **rest)
    return task


def _option(name: str) -> str:
    return "--no-chat" if name == "chat" else f"--{name.replace('_', '-')}"


def _model_of(adapter: str | Path) -> str:
    """The base model that an adapter's configuration names; it is a name on the hub, or a folder of whoever trained it."""
    name = read_json(Path(adapter) / CONFIG).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise ValueError(
            f"{str(Path(adapter) / CONFIG)!r} does not name the base model (base_model_name_or_path): give it with --model."
        )
    return name
