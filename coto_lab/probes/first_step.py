"""One step of several optimisers from the same LoRA factors: how each moves the weight, beside the weight's own gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.names import PREFIX
from coto_lab.ground.numbers import whole_number
from coto_lab.ground.randomness import batch_indices
from coto_lab.tasks import Task
from coto_lab.tasks.task import to_device
from coto_lab.training.loop import Training
from coto_lab.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class FirstSteps:
    """What one step made of the weight of one layer, by optimiser.

    Attributes:
        gradient: of the weight W + ΔW itself, as full fine-tuning has it, float64 ``[out, in]``.
        a, b: the factors before the step, with the scale in B: float64 ``[r, in]`` and ``[out, r]``.
        changes: name -> what the step added to the weight, float64 ``[out, in]``.
    """

    gradient: Float[Tensor, "out in"]
    a: Float[Tensor, "r in"]
    b: Float[Tensor, "out r"]
    changes: dict[str, Float[Tensor, "out in"]]

    def cosine(self, name: str) -> float:
        """The cosine between a step and the negative gradient: 1 is the direction of gradient descent on the weight."""
        change = self.changes[name]
        return -((change * self.gradient).sum() / (change.norm() * self.gradient.norm())).item()


def first_steps(task: Task, recipes: Mapping[str, Recipe], module: str, after: int = 0) -> FirstSteps:
    """Take one step by each recipe from the same factors, on the same batch, without moments of earlier steps.

    Args:
        task: what to train on.
        recipes: name -> recipe of the LoRA family; all have one rank, one alpha and one seed.
        module: the base's own name of a layer.
        after: how many steps the first recipe takes before. With 0 they start from B = 0.

    Raises:
        TypeError: ``task`` lacks a part of the protocol; one of ``recipes`` is no `Recipe`.
        ValueError: there are no recipes; no adapter is on ``module``; an adapter is no plain LoRA, or does not fit that of the
            first recipe.
    """
    if not recipes:
        raise ValueError("recipes is empty: give at least one, such as {'LoRA': Recipe()}.")
    first = Training(task, next(iter(recipes.values())))
    if module not in first.gates.modules:
        raise ValueError(f"module={module!r}: no adapter is there; there is one on {', '.join(first.gates.modules[:3])}, ...")
    for _ in range(whole_number("after", after, 0)):
        first.step()
    start = Adapter.from_model(first.model)
    a, b = _product(start, module)
    gradient = _weight_gradient(first, module)
    changes = {}
    for name, recipe in recipes.items():
        training = Training(task, recipe)
        start.copy_to(training.model)
        training.step()
        new_a, new_b = _product(Adapter.from_model(training.model), module)
        changes[name] = new_b @ new_a - b @ a
    return FirstSteps(gradient, a, b, changes)


def _product(adapter: Adapter, module: str) -> tuple[Tensor, Tensor]:
    factors = {name.removeprefix(PREFIX): pair for name, pair in adapter.factors().items()}
    a, b = factors[module]
    return a.double(), b.double()


def _weight_gradient(training: Training, module: str) -> Tensor:
    """The gradient of the weight under an adapter on the batch of step 0; the adapter gets none."""
    recipe, task = training.recipe, training.task
    indices = batch_indices(task.size("train"), recipe.batch_size, recipe.seed, 0)
    batch = to_device(task.batch("train", indices), training.accelerator.device)
    layer = dict(zip(training.gates.modules, training.gates.layers, strict=True))[module]
    weight = layer.get_base_layer().weight.requires_grad_(True)  # type: ignore[operator]
    loss = task.loss(task.predict(training.model, batch), batch).mean()
    (gradient,) = torch.autograd.grad(loss, weight)
    weight.requires_grad_(False)
    return gradient.double().cpu()
