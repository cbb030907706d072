"""What a method of adaptation makes of each layer: its start, its update after a few steps, and what a shut gate leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coto_lab.ground.numbers import whole_number
from coto_lab.tasks import Task
from coto_lab.tasks.task import Batch, to_device
from coto_lab.training.loop import Training
from coto_lab.training.recipe import Recipe

RANK_FROM = 1e-4  # of the largest singular value: what is smaller may be rounding
_EXAMPLES = 16  # of the test split, on which outputs are compared


@dataclass(frozen=True, eq=False)
class LayerUpdate:
    """What a short training by some method made of one linear layer.

    The three differences are ‖y - y₀‖ / ‖y₀‖ of the layer's outputs y, with y₀ those of the pre-trained layer, on the same
    inputs: those that test examples give it in the pre-trained model.

    Attributes:
        block: the name of the layer's gate.
        weight: W as it was pre-trained, float64 ``[out, in]``.
        change: ΔW, what the training added to it, float64 ``[out, in]``.
        trained: how many numbers of this layer were trained.
        at_start: the difference before the first step.
        dropped: the difference while the gate is shut.
        after: the difference after the last step.
    """

    block: str
    weight: Float[Tensor, "out in"]
    change: Float[Tensor, "out in"]
    trained: int
    at_start: float
    dropped: float
    after: float

    @property
    def singular(self) -> Float[Tensor, " k"]:
        """The singular values of ΔW, from the largest: float64 ``[min(out, in)]``."""
        return torch.linalg.svdvals(self.change)

    @property
    def rank(self) -> int:
        """The number of singular values of ΔW that are above 0.01% of the largest."""
        return int((self.singular > RANK_FROM * self.singular[0]).sum())

    @property
    def share_in_top(self) -> Float[Tensor, " k"]:
        """Which share of ‖ΔW‖² lies in W's top k directions, for k = 1, 2, ...: ‖Uₖᵀ ΔW Vₖ‖² / ‖ΔW‖², with W = U S Vᵀ.

        Of a ΔW without any direction of its own it is k² / (out · in) on average.
        """
        u, _, v = torch.linalg.svd(self.weight, full_matrices=False)
        turned = (u.T @ self.change @ v.T).square()  # the entry i, j: how much goes from W's j-th input to its i-th output
        return turned.cumsum(0).cumsum(1).diagonal() / self.change.square().sum()


def sizes(recipe: Recipe, layer: nn.Linear) -> list[int]:
    """The sizes of the recipe's method that fit a layer, powers of two and the recipe's own: ranks, or else sizes of blocks.

    It is empty for a method that has neither.
    """
    method = recipe.adapter_method
    if method.has_rank:
        ranks = {*(2**i for i in range(7)), recipe.r}
        return [r for r in sorted(ranks) if not method.misfit(layer, r)]
    own = vars(method).get("block_size")
    if own is None:
        return []
    blocks = sorted({*(2**i for i in range(1, 7)), own})
    return [size for size in blocks if not replace(method, block_size=size).misfit(layer, recipe.r)]  # type: ignore[call-arg]


def of_size(recipe: Recipe, size: int) -> Recipe:
    """The recipe with another one of its `sizes`; with another rank, the scale alpha / r stays."""
    method = recipe.adapter_method
    if method.has_rank:
        return replace(recipe, r=size, alpha=recipe.alpha / recipe.r * size)
    return replace(recipe, method=replace(method, block_size=size))  # type: ignore[call-arg]


def layer_updates(task: Task, recipe: Recipe, steps: int) -> dict[str, LayerUpdate]:
    """Train by ``recipe``, end after ``steps`` steps, and look at every adapted layer: module -> what became of it.

    Args:
        task: what to train on.
        recipe: the method and its options; its learning rate is that of its own, longer training.
        steps: how many of the recipe's steps to take.

    Raises:
        TypeError: ``task`` lacks a part of the protocol; ``recipe`` is no `Recipe`.
        ValueError: ``steps`` below 1 or above the recipe's; the method cannot adapt a layer, or one is not linear.
        FloatingPointError: the loss is no longer finite.
    """
    training = Training(task, recipe)
    steps = whole_number("steps", steps, 1, recipe.steps)
    names, layers, device = training.gates.modules, training.gates.layers, training.accelerator.device
    base = task.load_base().to(device).eval()
    examples = to_device(task.batch("test", range(min(_EXAMPLES, task.size("test")))), device)
    pretrained = {name: base.get_submodule(name) for name in names}
    inputs = _inputs(task, base, examples, pretrained)

    at_start = _differences(layers, pretrained, inputs)
    with training.gates.only([]):
        dropped = _differences(layers, pretrained, inputs)
    for _ in range(steps):
        training.step()
    after, changes = _differences(layers, pretrained, inputs), training.run().adapter.update(base)
    if others := [name for name in names if changes[name].dim() != 2]:
        raise ValueError(f"{others[0]} is no linear layer: only of a matrix there are singular values.")
    blocks = [training.gates.names[i] for i in training.gates.gate_of_module.tolist()]
    return {
        name: LayerUpdate(
            block,
            pretrained[name].get_parameter("weight").detach().double().cpu(),
            changes[name].double().cpu(),
            sum(p.numel() for p in layer.parameters() if p.requires_grad),
            *differences,
        )
        for name, layer, block, *differences in zip(names, layers, blocks, at_start, dropped, after, strict=True)
    }


@torch.no_grad()
def _inputs(task: Task, base: nn.Module, examples: Batch, layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """What each layer of the pre-trained model is given for the examples."""
    found: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_pre_hook(lambda _, given, name=name: found.__setitem__(name, given[0]))
        for name, layer in layers.items()
    ]
    task.predict(base, examples)
    for handle in handles:
        handle.remove()
    return found


@torch.no_grad()
def _differences(layers: Sequence[nn.Module], pretrained: Mapping[str, nn.Module], inputs: Mapping[str, Tensor]) -> list[float]:
    """‖y - y₀‖ / ‖y₀‖ of each layer, evaluated; the layers train as before afterwards."""
    found = []
    for layer, (name, own) in zip(layers, pretrained.items(), strict=True):
        expected = own(inputs[name])
        training = layer.training
        found.append(((layer.eval()(inputs[name]) - expected).norm() / expected.norm()).item())
        layer.train(training)
    return found
