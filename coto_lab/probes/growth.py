"""How the updates grow while an adapter trains, beside its loss and its gradients: where a training breaks, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.names import PREFIX
from coto_lab.ground.numbers import whole_number
from coto_lab.tasks import Task
from coto_lab.training.history import History, gate_norms
from coto_lab.training.loop import Training
from coto_lab.training.recipe import Recipe, check_recipe


@dataclass(frozen=True, eq=False)
class Growth:
    """The first T steps of a training.

    Attributes:
        history: loss and gradient norms of the steps.
        length: Frobenius norm of each block's update ΔW after each step, all its modules together: float32 ``[T, blocks]``.
    """

    history: History
    length: Float32[Tensor, "T blocks"]

    @property
    def grad_norm(self) -> Float32[Tensor, " T"]:
        """Norm of the whole adapter's gradient at each step, before clipping: float32 ``[T]``."""
        return self.history.grad_norm.norm(dim=1)

    @property
    def mean_length(self) -> Float32[Tensor, " T"]:
        """Mean over the blocks of `length`: float32 ``[T]``."""
        return self.length.mean(1)


def growth(task: Task, recipe: Recipe, steps: int) -> Growth:
    """Train by ``recipe``, end after ``steps`` steps, and measure the updates after each.

    A training whose loss is not finite any more ends there.

    Args:
        task: what to train on.
        recipe: plain LoRA, with any schedule; its learning rate and p(t) are those of its own, longer training.
        steps: how many of the recipe's steps to take.

    Raises:
        TypeError: ``task`` lacks a part of the protocol; ``recipe`` is no `Recipe`.
        ValueError: ``steps`` below 1 or above the recipe's; another method than LoRA.
    """
    check_recipe(recipe)
    steps = whole_number("steps", steps, 1, recipe.steps)
    if recipe.method != "lora":
        raise ValueError(f"recipe.method={recipe.method!r}: growth measures the update s·BA, so it must be 'lora'.")
    training = Training(task, recipe)
    lengths: list[Tensor] = []
    while len(lengths) < steps:
        try:
            training.step()
        except FloatingPointError:
            break
        lengths.append(_lengths(training))
    return Growth(training.history(), torch.stack(lengths) if lengths else torch.zeros(0, len(training.gates)))


def _lengths(training: Training) -> Tensor:
    """Length of each block's update; BA is never built: ‖BA‖² = Σ (BᵀB) ⊙ (AAᵀ)."""
    factors = Adapter.from_model(training.model).apart()[0].factors()
    ends = {name.removeprefix(PREFIX): pair for name, pair in factors.items()}
    squares = []
    for module in training.gates.modules:
        a, b = ends[module.removeprefix(PREFIX)]
        squares.append(((b.T @ b) * (a @ a.T)).sum().clamp(min=0))
    return gate_norms(torch.stack(squares).sqrt(), training.gates.gate_of_module, len(training.gates))
