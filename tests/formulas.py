"""The update of a method by its formula, beside what PEFT merges and what the model computes; and methods with a gate shut."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tiny_models import randomise, vit
from torch import Tensor, nn

from coto_lab import Adapter, Recipe, attach_gates
from coto_lab.adapters.methods.method import Method

TARGETS = ("q_proj", "fc1", "fc2")  # 16 inputs to 16 outputs, 16 to 24, and 24 to 16, in each of three blocks
PIXELS = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def base() -> nn.Module:
    """The tiny ViT with larger weights, and biases that are not zero."""
    model, generator = vit(), torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
            elif parameter.dim() == 2:
                parameter.mul_(10)
    return model.eval()


def adapted(method: str | Method, seed: int = 0, **settings: float) -> nn.Module:
    """`base` with a randomised adapter of a method, as a training would put it there."""
    recipe = Recipe(method=method, **{"r": 4, "alpha": 6.0} | settings)  # type: ignore[arg-type]
    return randomise(recipe.put_on(base(), TARGETS), seed).eval()


def adapter_of(method: str | Method, seed: int = 0, **settings: float) -> Adapter:
    return Adapter.from_model(adapted(method, seed, **settings))


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(PIXELS).logits


def tensors_of(adapter: Adapter, module: str) -> dict[str, Tensor]:
    """The tensors of a module by the ends of their names, and those that all modules share, in float64."""
    own, shared = f"base_model.model.{module}.", "base_model."
    found = {}
    for key, tensor in adapter.tensors.items():
        if key.startswith(own) or not key.startswith("base_model.model."):
            found[key.removeprefix(own).removeprefix(shared)] = tensor.double()
    return found


def check_formula(
    method: str | Method,
    formula: Callable[[dict[str, Tensor], Tensor], Tensor],
    prepare: Callable[[nn.Module], object] = lambda model: None,
    **settings: float,
) -> Adapter:
    """Assert that ΔW is ``formula(tensors, weight)`` in float64, and that a base with it computes what the model computes."""
    model, pristine = adapted(method, **settings), base()
    prepare(model)
    adapter = Adapter.from_model(model)
    update = adapter.update(pristine)
    assert sorted(update) == sorted(adapter.modules) and len(update) == 9
    for name, change in update.items():
        layer = pristine.get_submodule(name)
        expected = formula(tensors_of(adapter, name), layer.weight.detach().double())
        assert change.shape == layer.weight.shape and change.abs().max() > 1e-3
        torch.testing.assert_close(change.double(), expected, rtol=1e-5, atol=1e-6 * expected.abs().max().item())
        with torch.no_grad():
            layer.weight += change
    torch.testing.assert_close(logits(model), logits(pristine), rtol=1e-4, atol=1e-5)
    assert (logits(model) - logits(base())).abs().max() > 1e-3
    return adapter


def assert_a_dropped_block_is_pretrained(method: str | Method) -> None:
    """In training and in evaluation, to the last bit."""
    model = adapted(method)
    gates = attach_gates(model)
    opened = logits(model)
    gates.close(range(len(gates)))
    assert torch.equal(logits(model), logits(base()))
    gates.open(range(len(gates)))
    assert torch.equal(logits(model), opened)
    gates.train_with(torch.zeros(len(gates), dtype=torch.bool))
    assert torch.equal(model.train()(PIXELS).logits.detach(), logits(base()))
