"""Whether a task keeps to the protocol: asked before anything is trained, scored or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING
from weakref import WeakSet

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor, nn

from coto_lab.adapters.layers import find_adapter_layers
from coto_lab.ground.numbers import whole_number
from coto_lab.tasks.task import Batch, Example, Task, modules_to_save_of, say_of, size_of, to_device

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SPLITS = ("train", "test")
_MEMBERS = tuple(name for name in vars(Task) if not name.startswith("_"))
_NAMES, _OPTIONAL_METHODS = ("name", "base"), ("say", "skeleton", "reads")
_LISTS = {"target_modules": ("q_proj", "v_proj"), "classes": ("cat", "dog"), "modules_to_save": ("classifier",)}
_MEASURES = ("loss", "correct")
_SHOWN = tuple(field.name for field in fields(Example))
_in_use: WeakSet[nn.Module] = WeakSet()  # the modules with parameters of the base models that `fresh_base` has handed out


def check_task(task: object) -> None:
    """Whether a task has all members of the protocol, each of the right kind.

    Raises:
        TypeError: it lacks some, or some are of another kind; they are named.
        ValueError: its name or its base is empty, or there are no target modules.
    """
    if isinstance(task, type):
        raise TypeError(f"task is the class {task.__name__} itself: give a task of this class, such as {task.__name__}(...).")
    if missing := [name for name in _MEMBERS if not hasattr(task, name)]:
        raise TypeError(
            f"task ({type(task).__name__}) is no Task: it lacks {', '.join(missing)}. coto_lab.Task lists what a task has."
        )
    found = {name: getattr(task, name) for name in _MEMBERS}
    for name in _NAMES:
        if not isinstance(found[name], str):
            raise TypeError(f"task.{name}={found[name]!r}: must be a string, see coto_lab.Task.")
    found["modules_to_save"] = getattr(task, "modules_to_save", ())
    for name, example in _LISTS.items():
        if not isinstance(found[name], (tuple, list)) or not all(isinstance(item, str) for item in found[name]):
            raise TypeError(f"task.{name}={found[name]!r}: must be a tuple of names, such as {example}.")
    if empty := [name for name in (*_NAMES, "target_modules") if not found[name]]:
        raise ValueError(f"task.{empty[0]}={found[empty[0]]!r}: must not be empty, see coto_lab.Task.")
    if fixed := [name for name in _MEMBERS if name not in (*_NAMES, *_LISTS) and not callable(found[name])]:
        raise TypeError(f"task.{fixed[0]}={found[fixed[0]]!r}: must be a method, see coto_lab.Task.")
    for name in _OPTIONAL_METHODS:
        if (method := getattr(task, name, None)) is not None and not callable(method):
            raise TypeError(f"task.{name}={method!r}: must be a method, or be left out, see coto_lab.Task.")


def fresh_base(task: Task) -> PreTrainedModel:
    """What ``task.load_base`` returns, if it is a base model that nothing else uses.

    Raises:
        TypeError: it is no module.
        ValueError: it carries an adapter, or is the model of an earlier call, or shares layers with it: whoever uses that one
            would find another's adapter in it. Or it lacks one of the task's ``modules_to_save``.
    """
    model = task.load_base()
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"load_base of task {task.name!r} returned a {type(model).__name__}: return a fresh copy of the base model."
        )
    adapted = next(iter(find_adapter_layers(model)), None)
    parts = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]
    if adapted is not None or any(part in _in_use for part in parts):
        reason = "whose layers it returned before" if adapted is None else f"that carries an adapter, in {adapted!r}"
        raise ValueError(
            f"load_base of task {task.name!r} returned a model {reason}: return a fresh copy each time, such as "
            "copy.deepcopy(model), since adapters are put into what it returns."
        )
    for ending in modules_to_save_of(task):
        if not any(name.endswith(ending) for name, _ in model.named_modules()):  # PEFT would take no notice of it
            raise ValueError(
                f"task {task.name!r} has modules_to_save={modules_to_save_of(task)!r}, and its base model no module whose name "
                f"ends with {ending!r}. Name the new layers of the model, such as 'classifier'."
            )
    _in_use.update(parts)
    return model


def check_split(split: str) -> None:
    """ValueError unless ``split`` is ``"train"`` or ``"test"``."""
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: must be 'test' or 'train'.")


def measured(task: Task, prediction: Shaped[Tensor, "n ..."], batch: Batch) -> dict[str, Float64[Tensor, " n"]]:
    """What ``task.measure`` says of a prediction, on the CPU: name -> float64 ``[n]``.

    Raises:
        ValueError: it lacks ``"loss"`` or ``"correct"``, or one of them is no tensor of one number per example.
    """
    values, n = task.measure(prediction, batch), size_of(batch)
    if not isinstance(values, dict):
        raise ValueError(
            f"measure of task {task.name!r} returned a {type(values).__name__}: return a dict {{'loss': [n], 'correct': [n]}}."
        )
    if missing := [name for name in _MEASURES if name not in values]:
        raise ValueError(f"measure of task {task.name!r} lacks {missing}: return {{'loss': [n], 'correct': [n]}} at least.")
    for name, value in values.items():
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if shape != [n]:
            raise ValueError(
                f"measure of task {task.name!r} returned {name!r} as {shape} for a batch of {n} examples: return one number "
                f"per example, a tensor [{n}]."
            )
    return {name: value.detach().double().cpu() for name, value in values.items()}


def said(task: Task, prediction: Shaped[Tensor, "n ..."], batch: Batch) -> list[str] | None:
    """What ``task.say`` makes of a prediction, n strings; None where the task has no ``say``.

    Raises:
        ValueError: it is no list of one string per example.
    """
    if (say := say_of(task)) is None:
        return None
    texts, n = say(prediction, batch), size_of(batch)
    if not isinstance(texts, (list, tuple)) or len(texts) != n or not all(isinstance(text, str) for text in texts):
        kinds = sorted({type(text).__name__ for text in texts}) if isinstance(texts, (list, tuple)) else []
        found = f"{len(texts)} of {', '.join(kinds)}" if kinds else f"a {type(texts).__name__}"
        raise ValueError(
            f"say of task {task.name!r} returned {found} for a batch of {n} examples: return a list of {n} strings."
        )
    return list(texts)


@torch.no_grad()
def try_task(task: Task, model: nn.Module, split: str) -> None:
    """Predict two examples, and look at what the task makes of it; ``model`` is as before.

    Args:
        task: the task.
        model: its base model, with or without a fresh adapter.
        split: where the examples are from.

    Raises:
        ValueError: the split is empty; a batch, what is shown or said for it, a loss or a measure is of another kind or length
            than the protocol says, or is not finite.
    """
    size = whole_number(f"task {task.name!r}: size({split!r})", task.size(split), 0)
    if size < 1:
        raise ValueError(f"task {task.name!r} has no {split} examples.")
    device, n = next(model.parameters()).device, min(2, size)
    places = list(range(n))
    _check_shown(task, task.show(split, places), n)
    batch = to_device(_checked_batch(task, _batch_at(task, split, places), n), device)
    was_training = model.training
    model.eval()  # no dropout, so no random number is drawn
    try:
        prediction = task.predict(model, batch)
    finally:
        model.train(was_training)
    if not isinstance(prediction, Tensor):
        raise ValueError(
            f"predict of task {task.name!r} returned a {type(prediction).__name__}: return a tensor [n, ...]: `.logits`."
        )
    if task.classes and (prediction.shape != (n, len(task.classes)) or "labels" not in batch):
        raise ValueError(
            f"task {task.name!r} has {len(task.classes)} classes, so predict must return [n, {len(task.classes)}] (it returned "
            f"{list(prediction.shape)} for {n} examples), and a batch must have a column 'labels' (it has {list(batch)})."
        )
    if prediction.shape[:1] != (n,):
        raise ValueError(
            f"predict of task {task.name!r} returned {list(prediction.shape)} for a batch of {n} examples: the first dimension "
            f"must be that of the examples, [{n}, ...]."
        )
    loss = task.loss(prediction, batch)
    if not isinstance(loss, Tensor) or loss.shape != (n,) or not loss.is_floating_point():
        raise ValueError(
            f"loss of task {task.name!r} is {list(loss.shape) if isinstance(loss, Tensor) else loss!r} for a batch of {n} "
            f"examples: return one number per example, a float tensor [{n}]; training takes the mean itself."
        )
    said(task, prediction, batch)
    found = {f"measure[{name!r}]": value for name, value in measured(task, prediction, batch).items()}
    for name, value in {"loss": loss, **found}.items():
        if not value.isfinite().all():
            raise ValueError(
                f"{name} of task {task.name!r} is {value.tolist()} for the base model on the first {split} examples: it must "
                "be finite there. Look for a division by a number of tokens that can be 0, or for overflow in half precision."
            )


def _batch_at(task: Task, split: str, places: list[int]) -> object:
    """What ``task.batch`` returns for indices as a tensor, which is how training asks; ValueError where it cannot."""
    try:
        return task.batch(split, torch.tensor(places))
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"batch of task {task.name!r} cannot take its indices as a tensor ({type(error).__name__}: {error}). Indices are "
            "a list of ints or an int64 tensor: call int(i) on each of them."
        ) from error


def _checked_batch(task: Task, batch: object, n: int) -> Batch:
    """``batch``, if it is one of n examples; ValueError otherwise."""
    if not isinstance(batch, Mapping) or not batch:
        found = "an empty dict" if isinstance(batch, Mapping) else f"a {type(batch).__name__}"
        raise ValueError(f"batch of task {task.name!r} returned {found}: return a dict of tensors, each [{n}, ...].")
    columns = dict(batch)
    kinds = {name: type(column).__name__ for name, column in columns.items() if not isinstance(column, Tensor)}
    if kinds:
        raise ValueError(f"batch of task {task.name!r} returned {kinds}: each column must be a tensor [{n}, ...].")
    lengths = {name: len(column) if column.dim() else "no" for name, column in columns.items()}
    if wrong := {name: length for name, length in lengths.items() if length != n}:
        raise ValueError(f"batch of task {task.name!r} returned {wrong} examples for {n} indices: each column must have {n}.")
    return columns


def _check_shown(task: Task, shown: object, n: int) -> None:
    """ValueError unless ``shown`` holds n examples for people."""
    if not isinstance(shown, Sequence) or isinstance(shown, str) or len(shown) != n:
        found = f"{len(shown)} examples" if isinstance(shown, (list, tuple)) else f"a {type(shown).__name__}"
        raise ValueError(f"show of task {task.name!r} returned {found} for {n} indices: return a list of {n} Examples.")
    if odd := [item for item in shown if not all(hasattr(item, name) for name in _SHOWN)]:
        raise ValueError(
            f"show of task {task.name!r} returned a {type(odd[0]).__name__} in its list: return a list of Examples, each with "
            f"{', '.join(_SHOWN)}."
        )
