"""Whether a task keeps to the protocol: asked before anything is trained, scored or written."""

from __future__ import annotations

import torch
from jaxtyping import Float64, Shaped
from torch import Tensor, nn

from coto_lab.tasks.task import Batch, Task, size_of, to_device

SPLITS = ("train", "test")
_MEMBERS = tuple(name for name in vars(Task) if not name.startswith("_"))
_MEASURES = ("loss", "correct")


def check_task(task: object) -> None:
    """Whether a task has all members of the protocol.

    Raises:
        TypeError: it lacks some; they are named.
    """
    if missing := [name for name in _MEMBERS if not hasattr(task, name)]:
        raise TypeError(
            f"task ({type(task).__name__}) is no Task: it lacks {', '.join(missing)}. coto_lab.Task lists what a task has."
        )


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


@torch.no_grad()
def try_task(task: Task, model: nn.Module, split: str) -> None:
    """Predict two examples, and look at what the task makes of it; ``model`` is as before.

    Args:
        task: the task.
        model: its base model, with or without a fresh adapter.
        split: where the examples are from.

    Raises:
        ValueError: the split is empty; a loss or a measure has another length than the batch, or is not finite.
    """
    if task.size(split) < 1:
        raise ValueError(f"task {task.name!r} has no {split} examples.")
    device, n = next(model.parameters()).device, min(2, task.size(split))
    batch = to_device(task.batch(split, list(range(n))), device)
    if lengths := {name: len(column) for name, column in batch.items() if len(column) != n}:
        raise ValueError(f"batch of task {task.name!r} returned {lengths} examples for {n} indices: each column must have {n}.")
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
    loss = task.loss(prediction, batch)
    if not isinstance(loss, Tensor) or loss.shape != (n,):
        raise ValueError(
            f"loss of task {task.name!r} is {list(loss.shape) if isinstance(loss, Tensor) else loss!r} for a batch of {n} "
            f"examples: return one number per example, a tensor [{n}]; training takes the mean itself."
        )
    for name, value in {"loss": loss, **measured(task, prediction, batch)}.items():
        if not value.isfinite().all():
            raise ValueError(
                f"{name!r} of task {task.name!r} is {value.tolist()} for the base model on the first {split} examples: it must "
                "be finite there. Look for a division by a number of tokens that can be 0, or for overflow in half precision."
            )
