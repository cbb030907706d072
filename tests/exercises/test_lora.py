"""The checks find what readers do wrong, and let through what is right."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from coto_lab import Gates, LoRALinear, Recipe, attach_gates, gates_of
from coto_lab.exercises import lora
from coto_lab.exercises.lora import LayerMaker
from coto_lab.gating.coto import draw_mask

check_lora, check_gate, check_merge, check_coto_gates = (  # what they find, before it is printed
    check.__wrapped__ for check in (lora.check_lora, lora.check_gate, lora.check_merge, lora.check_coto_gates)
)


class Borrowed(LoRALinear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)


class Right(nn.Module):
    """What the notebook's solution does; the wrong ones below change one thing each."""

    def __init__(self, base_layer: nn.Linear, r: int, alpha: float):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / r
        self.lora_A = nn.Parameter(torch.empty(r, base_layer.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base_layer.out_features, r))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.gate = True

    def update(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scaling

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base_layer(x) + self.update(x) if self.gate else self.base_layer(x)


def built(change: object, at: str) -> LayerMaker:
    """The right layer with one thing changed after it is built."""

    def make(base_layer: nn.Linear, r: int, alpha: float) -> nn.Module:
        layer = Right(base_layer, r, alpha)
        setattr(layer, at, change(layer) if callable(change) else change)
        return layer

    return make


def forwards(forward: object) -> type[Right]:
    return type("Wrong", (Right,), {"forward": forward})


def transposed(base_layer: nn.Linear, r: int, alpha: float) -> nn.Module:
    layer = Right(base_layer, r, alpha)
    layer.lora_A = nn.Parameter(layer.lora_A.data.T.clone())
    return layer


def trains_the_base(base_layer: nn.Linear, r: int, alpha: float) -> nn.Module:
    layer = Right(base_layer, r, alpha)
    layer.base_layer.requires_grad_(True)
    return layer


def plain_tensors(base_layer: nn.Linear, r: int, alpha: float) -> nn.Module:
    layer = Right(base_layer, r, alpha)
    del layer.lora_A
    layer.lora_A = torch.zeros(r, base_layer.in_features)
    return layer


@pytest.mark.parametrize("make", [Right, LoRALinear])
def test_right_layers_pass(make: LayerMaker) -> None:
    assert check_gate(make) == []
    assert check_lora(make) == []


WRONG = {
    "returns what the base layer returns": forwards(lambda self, x: self.base_layer(x)),
    "returns s B A x alone": forwards(lambda self, x: self.update(x)),
    "the scale s = alpha / r is missing": built(1.0, "scaling"),
    "the scale is alpha": built(lambda layer: layer.scaling * layer.lora_A.shape[0], "scaling"),
    "the scale is inverted": built(lambda layer: 1 / layer.scaling, "scaling"),
    "the bias of the base layer is missing": forwards(lambda self, x: F.linear(x, self.base_layer.weight) + self.update(x)),
    "differs from W x + b + s B A x by up to": built(7.0, "scaling"),
    "returns shape [3, 3]": forwards(lambda self, x: self.base_layer(x) @ self.base_layer(x).T),
    "returns a NoneType, not a tensor: is there a return?": forwards(lambda self, x: None),
    "lora_A has shape [64, 4]": transposed,
    "lora_A is not among the layer's parameters": plain_tensors,
    "lora_A starts with entries up to 0.000": built(lambda layer: nn.Parameter(torch.zeros_like(layer.lora_A)), "lora_A"),
    "lora_B does not start at 0": built(lambda layer: nn.Parameter(torch.ones_like(layer.lora_B)), "lora_B"),
    "base_layer.weight, base_layer.bias would train too": trains_the_base,
    "lora_B gets no gradient": forwards(
        lambda self, x: self.base_layer(x) + F.linear(F.linear(x, self.lora_A), self.lora_B.data) * self.scaling
    ),
}


@pytest.mark.parametrize("complaint", WRONG)
def test_what_is_wrong_is_named(complaint: str) -> None:
    (found,) = check_lora(WRONG[complaint])
    assert complaint in found


def test_a_path_without_gradients_is_told_of_both_factors() -> None:
    def forward(self: Right, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.base_layer(x) + self.update(x)

    assert ["gets no gradient" in found for found in check_lora(forwards(forward))] == [True, True]


def test_two_faults_are_two_complaints() -> None:
    def make(base_layer: nn.Linear, r: int, alpha: float) -> nn.Module:
        layer = built(1.0, "scaling")(base_layer, r, alpha)
        nn.init.ones_(layer.lora_B)
        return layer

    start, scale = check_lora(make)
    assert "lora_B does not start at 0" in start and "scale" in scale


WRONG_GATES = {
    "forward calls super()": Borrowed,
    "shut, forward returns a NoneType, not a tensor": forwards(lambda self, x: self.base_layer(x) if self.gate else None),
    "needs an attribute gate": built(None, "gate"),
    "multiply": forwards(lambda self, x: self.base_layer(x) + self.update(x) * self.gate),
    "must return exactly base_layer(x)": forwards(
        lambda self, x: self.base_layer(x) * (1 if self.gate else 1 + 1e-6) + self.update(x) * self.gate
    ),
    "open again: forward returns what the base layer returns": forwards(lambda self, x: self.base_layer(x)),
    "lora_A has shape [64, 4]": transposed,
}


@pytest.mark.parametrize("complaint", WRONG_GATES)
def test_what_is_wrong_with_a_gate_is_named(complaint: str) -> None:
    assert any(complaint in found for found in check_gate(WRONG_GATES[complaint]))


def merged(weight: Callable[[LoRALinear], torch.Tensor], bias: bool = True) -> Callable[[LoRALinear], nn.Linear]:
    """A plain layer of this weight, with the bias of the base layer or its own."""

    def merge(layer: LoRALinear) -> nn.Linear:
        base = layer.base_layer
        plain = nn.Linear(base.in_features, base.out_features)
        with torch.no_grad():
            plain.weight.copy_(weight(layer))
            if bias:
                plain.bias.copy_(base.bias)
        return plain

    return merge


def in_place(layer: LoRALinear) -> nn.Linear:
    with torch.no_grad():
        layer.base_layer.weight += layer.delta_weight()
    return layer.base_layer


def sum_of_weights(layer: LoRALinear) -> torch.Tensor:
    return layer.base_layer.weight + layer.delta_weight()


WRONG_MERGES = {
    "its weight is W alone": merged(lambda layer: layer.base_layer.weight),
    "its weight is s B A alone": merged(LoRALinear.delta_weight),
    "the scale s = alpha / r is missing": merged(lambda layer: layer.base_layer.weight + layer.lora_B @ layer.lora_A),
    "the update is subtracted": merged(lambda layer: layer.base_layer.weight - layer.delta_weight()),
    "its weight differs from W + s B A by up to": merged(lambda layer: 2 * sum_of_weights(layer)),
    "its bias is not that of the base layer": merged(sum_of_weights, bias=False),
    "layer.base_layer was changed": in_place,
    "my_merge returns a LoRALinear": lambda layer: layer,
    "my_merge calls merge: write it yourself": lambda layer: layer.merge(),
}


def test_right_merges_pass() -> None:
    assert check_merge(merged(sum_of_weights)) == []


@pytest.mark.parametrize("complaint", WRONG_MERGES)
def test_what_is_wrong_with_a_merge_is_named(complaint: str) -> None:
    (found,) = check_merge(WRONG_MERGES[complaint])
    assert complaint in found


@pytest.fixture
def gated() -> nn.Module:
    layers = {f"layer{i}": LoRALinear(nn.Linear(4, 4), r=2, alpha=4.0) for i in range(8)}
    model = nn.Sequential(*(nn.ModuleDict({name: layer}) for name, layer in layers.items())).eval()
    attach_gates(model, by="module")
    return model


def sets(mask: Callable[[Recipe, int], torch.Tensor], way: str = "train_with") -> Callable[[Gates, Recipe, int], None]:
    return lambda gates, recipe, t: getattr(gates, way)(mask(recipe, t))


def drawn(recipe: Recipe, t: int) -> torch.Tensor:
    return draw_mask(8, recipe.schedule(t / recipe.steps), recipe.seed, t)


WRONG_SETTERS = {
    "stay shut in evaluation": sets(lambda recipe, t: ~drawn(recipe, t), "close"),
    "the mask is inverted": sets(lambda recipe, t: ~drawn(recipe, t)),
    "p of the first step": sets(lambda recipe, t: draw_mask(8, recipe.schedule(0), recipe.seed, t)),
    "give draw_mask the step t": sets(lambda recipe, t: draw_mask(8, recipe.schedule(t / recipe.steps), recipe.seed, 0)),
    "give draw_mask recipe.seed": sets(lambda recipe, t: draw_mask(8, recipe.schedule(t / recipe.steps), 0, t)),
    "is the progress, not yet p": sets(lambda recipe, t: draw_mask(8, t / recipe.steps, recipe.seed, t)),
    "all gates are open": lambda gates, recipe, t: None,
    "and CoTo draws": sets(lambda recipe, t: draw_mask(8, 0.5, recipe.seed, t)),
}


def test_cotos_gates_pass_and_the_model_is_as_before(gated: nn.Module) -> None:
    assert check_coto_gates(sets(drawn), gated) == []
    assert gates_of(gated).mask.all() and not gated.training
    assert gates_of(gated.train()).mask.all(), "no training mask is left"


@pytest.mark.parametrize("complaint", WRONG_SETTERS)
def test_what_is_wrong_with_the_gates_of_a_step_is_named(gated: nn.Module, complaint: str) -> None:
    (found,) = check_coto_gates(WRONG_SETTERS[complaint], gated)
    assert complaint in found
    assert gates_of(gated).mask.all() and not gated.training
