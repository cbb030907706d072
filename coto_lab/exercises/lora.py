"""The exercises of the notebook on LoRA and gates."""

from __future__ import annotations

import copy
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from coto_lab.adapters.lora import LoRALinear
from coto_lab.exercises._exercise import exercise
from coto_lab.gating.coto import draw_mask
from coto_lab.gating.gates import Gates, gates_of
from coto_lab.gating.schedules import Constant, Linear
from coto_lab.training.recipe import Recipe

LayerMaker = Callable[[nn.Linear, int, float], Any]  # Any, because mypy takes attributes of an nn.Module for tensors or modules

_IN, _OUT, _R, _ALPHA = 64, 48, 4, 12.0  # all numbers differ, so that a transposed factor does not fit

_NO_TENSOR = "forward returns a {}, not a tensor: is there a return?"


@exercise("This is LoRA.")
def check_lora(make: LayerMaker) -> list[str]:
    """Check a LoRA layer written by hand.

    Args:
        make: the layer's class, called as ``make(base_layer, r, alpha)``; the layer has ``lora_A`` ``[r, in]`` and ``lora_B``
            ``[out, r]``, and computes W x + b + s B A x with s = alpha / r.
    """
    base, x = _base_and_input()
    layer = make(copy.deepcopy(base), _R, _ALPHA)
    if complaints := _check_factors(layer):
        return complaints
    a, b = layer.lora_A, layer.lora_B
    bound = 1 / math.sqrt(_IN)
    if not 0.9 * bound < a.abs().max() <= bound:
        complaints.append(
            f"lora_A starts with entries up to {a.abs().max():.3f}, not {bound:.3f}: draw it by "
            "nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)"
        )
    if b.any():
        complaints.append("lora_B does not start at 0, so the adapter changes the output from the start")
    adapter = {"lora_A", "lora_B"}
    if unfrozen := [name for name, p in layer.named_parameters() if p.requires_grad and name not in adapter]:
        complaints.append(f"{', '.join(unfrozen)} would train too: freeze it with base_layer.requires_grad_(False)")
    _move_off_the_start(layer)
    y = layer(x)
    if wrong := _check_output(y, x, base, layer):
        return [*complaints, wrong]
    if y.requires_grad:
        y.sum().backward()
    lost = [name for name in sorted(adapter) if getattr(layer, name).grad is None]
    return complaints + [f"{name} gets no gradient: does forward take its .data, or detach it?" for name in lost]


@exercise("This is a gate.")
def check_gate(make: LayerMaker) -> list[str]:
    """Check the gate of a LoRA layer written by hand.

    Args:
        make: as in `check_lora`; the layer has an attribute ``gate``, True (open) or False (shut).
    """
    base, x = _base_and_input()
    layer = make(copy.deepcopy(base), _R, _ALPHA)
    if complaints := _check_factors(layer):
        return complaints
    _move_off_the_start(layer)
    if "super" in _names_in(type(layer).forward):
        return ["forward calls super(): LoRALinear has a gate of its own; write the two cases yourself"]
    if getattr(layer, "gate", None) is not True:
        return ["the layer needs an attribute gate that is True at the start: self.gate = True in __init__"]
    layer.gate = False
    y = layer(x.requires_grad_())
    if not isinstance(y, Tensor):
        return [f"shut, {_NO_TENSOR.format(type(y).__name__)}"]
    if not torch.equal(y, base(x)):
        complaints.append("shut, the layer must return exactly base_layer(x), and it does not")
    y.sum().backward()
    if any(factor.grad is not None for factor in (layer.lora_A, layer.lora_B)):
        complaints.append("shut, the factors still get a gradient: do not multiply by the gate, return before the product")
    layer.gate = True
    if wrong := _check_output(layer(x), x, base, layer):
        complaints.append(f"open again: {wrong}")
    return complaints


@exercise("One plain layer, with the outputs of both parts.")
def check_merge(my_merge: Callable[[LoRALinear], Any]) -> list[str]:
    """Check a function that adds the update of a LoRA layer into its weight.

    Args:
        my_merge: called as ``my_merge(layer)``; returns a new ``nn.Linear`` and leaves the layer as it is.
    """
    if "merge" in _names_in(my_merge):
        return ["my_merge calls merge: write it yourself, with W, B and A"]
    base, _ = _base_and_input()
    layer = LoRALinear(copy.deepcopy(base), _R, _ALPHA, generator=torch.Generator().manual_seed(0))
    _move_off_the_start(layer)
    right = layer.merge().weight
    merged = my_merge(layer)
    complaints = []
    if not all(torch.equal(p, q) for p, q in zip(layer.base_layer.parameters(), base.parameters(), strict=True)):
        complaints.append("layer.base_layer was changed: copy into a new nn.Linear")
    if type(merged) is not nn.Linear:
        return [*complaints, f"my_merge returns a {type(merged).__name__}; it should return a plain nn.Linear"]
    if merged.bias is None or not torch.equal(merged.bias, base.bias):
        complaints.append("its bias is not that of the base layer: copy it")
    weight, product = base.weight, layer.lora_B @ layer.lora_A
    likely = {
        "its weight is W alone: add s B A": weight,
        "its weight is s B A alone: add W": layer.scaling * product,
        "the scale s = alpha / r is missing (layer.scaling)": weight + product,
        "the update is subtracted: add it": weight - layer.scaling * product,
    }
    if not torch.allclose(merged.weight, right, rtol=1e-4, atol=1e-5):
        found = (said for said, wrong in likely.items() if torch.allclose(merged.weight, wrong, rtol=1e-4, atol=1e-5))
        complaints.append(next(found, f"its weight differs from W + s B A by up to {(merged.weight - right).abs().max():.3g}"))
    return complaints


@exercise("These lines make it CoTo.")
def check_coto_gates(my_gates: Callable[[Gates, Recipe, int], None], model: nn.Module) -> list[str]:
    """Check a function that sets the gates of a training step as CoTo does.

    Args:
        my_gates: called as ``my_gates(gates, recipe, t)``.
        model: the model that carries the gates. Afterwards all gates are open, and the model is in the mode of before.
    """
    gates, training = gates_of(model), model.training
    drawn: list[tuple[Recipe, int, Tensor]] = []
    try:
        for schedule in (Linear(), Linear(ramp=0.5), Constant(0.5), Constant(1.0)):
            for seed, t in itertools.product((3, 4), (0, 7, 20, 39)):
                gates.open()
                recipe = Recipe(schedule=schedule, steps=40, seed=seed)
                my_gates(gates, recipe, t)
                model.train()
                drawn.append((recipe, t, gates.mask))
                model.eval()
                if not gates.mask.all():
                    return ["some gates stay shut in evaluation: set them with gates.train_with(mask)"]
        return _check_gates(drawn)
    finally:
        gates.open()
        model.train(training)


def _names_in(function: Any) -> tuple[str, ...]:
    """The names of globals and attributes in the function's code; empty for a function that is not written in Python."""
    return function.__code__.co_names if hasattr(function, "__code__") else ()


def _base_and_input() -> tuple[nn.Linear, Tensor]:
    generator = torch.Generator().manual_seed(0)
    base = nn.utils.skip_init(nn.Linear, _IN, _OUT)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8)
    return base, torch.randn(3, _IN, generator=generator)


def _check_factors(layer: Any) -> list[str]:
    parameters = dict(layer.named_parameters())
    complaints = []
    for name, shape in (("lora_A", (_R, _IN)), ("lora_B", (_OUT, _R))):
        if name not in parameters:
            complaints.append(f"{name} is not among the layer's parameters: self.{name} = nn.Parameter(...)")
        elif parameters[name].shape != shape:
            found, wanted = list(parameters[name].shape), "[r, in]" if name == "lora_A" else "[out, r]"
            complaints.append(f"{name} has shape {found} where r = {_R}, in = {_IN}, out = {_OUT}; it should be {wanted}")
    return complaints


def _move_off_the_start(layer: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # with B = 0 the output would not depend on what forward does with the factors
        for factor in (layer.lora_A, layer.lora_B):
            factor.copy_(torch.randn(factor.shape, generator=generator) / 4)


def _check_gates(drawn: Sequence[tuple[Recipe, int, Tensor]]) -> list[str]:
    """How the masks set for recipes and steps differ from CoTo's; a likely mistake is named if it explains all masks."""

    def masks(p: Callable[[Recipe, int], float], seed: Callable[[Recipe], int], step: Callable[[int], int]) -> list[Tensor]:
        return [draw_mask(len(mask), p(recipe, t), seed(recipe), step(t)) for recipe, t, mask in drawn]

    def now(recipe: Recipe, t: int) -> float:
        return recipe.schedule(t / recipe.steps)

    own, same = operator.attrgetter("seed"), int
    right = masks(now, own, same)
    likely = {
        "all gates are open: are they set with gates.train_with(mask)?": [torch.ones_like(mask) for mask in right],
        "the mask is inverted: True is open": [~mask for mask in right],
        "every step draws with p of the first step: p is recipe.schedule(t / recipe.steps)": masks(
            lambda recipe, t: now(recipe, 0), own, same
        ),
        "t / recipe.steps is the progress, not yet p: give it to recipe.schedule": masks(
            lambda recipe, t: t / recipe.steps, own, same
        ),
        "every step draws the same gates: give draw_mask the step t": masks(now, own, lambda t: 0),
        "every seed draws the same gates: give draw_mask recipe.seed": masks(now, lambda recipe: 0, same),
    }
    for (recipe, t, found), wanted in zip(drawn, right, strict=True):
        if not torch.equal(found, wanted):
            where = f"at step {t} of {recipe.steps} with {recipe.schedule}, seed {recipe.seed}"
            mine = [mask for _, _, mask in drawn]
            said = (said for said, wrong in likely.items() if all(map(torch.equal, mine, wrong)))
            return [f"{where}: {next(said, f'open are {_listed(found)}, and CoTo draws {_listed(wanted)}')}"]
    return []


def _listed(mask: Tensor) -> str:
    return "".join("█" if is_open else "·" for is_open in mask)


def _check_output(y: Any, x: Tensor, base: nn.Linear, layer: Any) -> str:
    """One sentence on how y differs from W x + b + s B A x; empty if both are equal."""
    if not isinstance(y, Tensor):
        return _NO_TENSOR.format(type(y).__name__)
    oracle = LoRALinear(copy.deepcopy(base), _R, _ALPHA, generator=torch.Generator().manual_seed(0))
    oracle.lora_A, oracle.lora_B = layer.lora_A, layer.lora_B
    with torch.no_grad():
        right, alone = oracle(x), base(x)
        update = right - alone
        likely = {
            "forward returns what the base layer returns: add s B A x": alone,
            "forward returns s B A x alone: add what the base layer returns": update,
            "the scale s = alpha / r is missing": alone + update / oracle.scaling,
            "the scale is alpha: divide it by r": alone + update * _R,
            "the scale is inverted: it should be alpha / r": alone + update / oracle.scaling**2,
            "the bias of the base layer is missing: call base_layer, not its weight alone": right - base.bias,
        }
        if y.shape != right.shape:
            return f"forward returns shape {list(y.shape)} for x {list(x.shape)}; it should be {list(right.shape)}"
        if torch.allclose(y, right, rtol=1e-4, atol=1e-5):
            return ""
        for sentence, wrong in likely.items():
            if torch.allclose(y, wrong, rtol=1e-4, atol=1e-5):
                return sentence
        return f"forward differs from W x + b + s B A x by up to {(y - right).abs().max():.3g}"
