"""One optimiser step, from the gates to the update: the page to read first.

The same step trains one adapter of any method (`OneAdapter`) and many LoRA adapters as rows of one batch (`ManyAdapters`): a
*row* is one adapter, with its own recipe, its own share of the batch and its own gates. The base model is frozen, so rows do
not meet: the gradient of the sum of their losses is each one's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor, nn

from coto_lab.tasks.task import Batch, Task
from coto_lab.training.recipe import Recipe


class Trainee(Protocol):
    """R adapters on one frozen base, ready to be trained."""

    forward: nn.Module
    """What `Task.predict` is given."""
    optimizer: torch.optim.Optimizer
    """Its parameter groups say to which ``row`` they belong (`Method.optimizer`)."""

    def open_gates(self, step: int) -> Bool[Tensor, "R n_gates"]:
        """Open and drop the adapters of this step: the masks, ``BoolTensor [R, n_gates]``."""

    def batch(self, step: int) -> Batch:
        """The batches of the rows, one after the other, on the device: ``[R·n, ...]``."""

    def random_numbers(self) -> AbstractContextManager[None]:
        """Within it, dropout draws from the rows' own random numbers."""

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Compute the gradients of a scalar."""

    def mean_over_processes(self, losses: Float[Tensor, " R"]) -> Float[Tensor, " R"]:
        """The losses of the rows, averaged over all processes that share the batches: ``[R]``."""

    def keep_gradients(self, moving: Bool[Tensor, " R"]) -> Float32[Tensor, "R n_modules"]:
        """Drop the gradients of the rows that are not ``moving`` (``BoolTensor [R]``), and of adapters that were dropped.

        Returns:
            The norm of the gradient of each adapted module, float32 ``[R, n_modules]``; 0 where there is none.
        """

    def clip_gradients(self, row: int, max_norm: float) -> None:
        """Shorten the gradient of a row to ``max_norm`` where it is longer."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What happened to R rows in one step.

    Attributes:
        mask: which gates were open, ``BoolTensor [R, n_gates]``.
        loss: mean over each row's examples, before the update, in nats, float64 ``[R]``.
        grad_norm: of each adapted module, before clipping, float32 ``[R, n_modules]``.
        moving: the rows that took the step, ``BoolTensor [R]``: those that were alive and whose loss is finite.
    """

    mask: Bool[Tensor, "R n_gates"]
    loss: Float64[Tensor, " R"]
    grad_norm: Float32[Tensor, "R n_modules"]
    moving: Bool[Tensor, " R"]


def take_step(task: Task, trainee: Trainee, recipes: Sequence[Recipe], step: int, alive: Bool[Tensor, " R"]) -> Outcome:
    """Train every row that is ``alive`` (``BoolTensor [R]``) by one step; one whose loss is not finite stays as it was.

    Source: arXiv:2506.05713, progressive activation. Without its first line this is the plain loop of LoRA.
    """
    mask = trainee.open_gates(step)  # which adapters take part: the only thing that CoTo adds
    for group in trainee.optimizer.param_groups:
        group["lr"] = recipes[group["row"]].learning_rate(step) * group.get("lr_ratio", 1.0)

    batch = trainee.batch(step)
    with trainee.random_numbers():
        prediction = task.predict(trainee.forward, batch)  # [R·n, ...]
        losses = task.loss(prediction, batch).unflatten(0, (len(recipes), -1)).mean(1)  # [R·n] -> [R]
        trainee.backward(losses.sum())

    values = trainee.mean_over_processes(losses.detach()).double().cpu()
    moving = alive & values.isfinite()
    norms = trainee.keep_gradients(moving)
    for row, recipe in enumerate(recipes):
        if recipe.max_grad_norm is not None and moving[row]:
            trainee.clip_gradients(row, recipe.max_grad_norm)
    trainee.optimizer.step()  # a parameter without a gradient keeps its value, its moments and its step count
    trainee.optimizer.zero_grad()
    return Outcome(mask, values, norms, moving)
