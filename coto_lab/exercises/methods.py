"""The small exercises of the notebook on the variants of LoRA: what a method trains, and what may be averaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from coto_lab.adapters.methods.registry import find_method, known_methods
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.exercises._exercise import exercise
from coto_lab.exercises._numbers import as_number

COUNTED = ("lora", "dora", "loha", "vera", "miss", "ia3")
_LAYERS = ((4, 18, 24), (3, 30, 12))  # rank, outputs, inputs; all differ, so that a wrong formula gives another number


@exercise("These are the numbers of trained parameters that PEFT counts.")
def check_trained(trained: Callable[[str, int, int, int], Any]) -> list[str]:
    """Check how many numbers a method trains in a linear layer.

    Args:
        trained: called as ``trained(method, r, outputs, inputs)`` with a name from `COUNTED`.
    """
    return [complaint for method in COUNTED if (complaint := _first_mistake(method, trained))]


def _first_mistake(method: str, trained: Callable[[str, int, int, int], Any]) -> str:
    for r, outputs, inputs in _LAYERS:
        answer, right = as_number(trained(method, r, outputs, inputs)), _counted(method, r, outputs, inputs)
        if answer is None:
            return f"{method}: return one number"
        if answer != right:
            said = _likely(method, r, outputs, inputs).get(answer, "")
            layer = f"a layer with {inputs} inputs and {outputs} outputs and r = {r}"
            return f"{method}: {answer:g} for {layer}, where PEFT trains {right}{said and ': ' + said}"
    return ""


def _counted(method: str, r: int, outputs: int, inputs: int) -> int:
    config = find_method(method).peft_config(r=r, alpha=float(r), dropout=0.0, targets=["layer"])
    model = add_adapter(nn.ModuleDict({"layer": nn.Linear(inputs, outputs)}), config)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _likely(method: str, r: int, outputs: int, inputs: int) -> dict[float, str]:
    """A wrong number -> what is forgotten."""
    pair = r * (inputs + outputs)
    return {
        "lora": {r * inputs * outputs: "A and B are trained, not their product"},
        "dora": {pair: "the magnitudes are trained, too, one for each output"},
        "loha": {pair: "there are two products, and so four factors"},
        "vera": {pair: "A and B are drawn and stay; only the two vectors are trained"},
        "miss": {pair: "S only sums up inputs and is not trained"},
        "ia3": {inputs: "the outputs are scaled, not the inputs"},
    }[method]  # type: ignore[return-value]


@exercise("For these two, and no others here, the fusion of two adapters is their ensemble.")
def check_averaged(names: Any) -> list[str]:
    """Check for which methods the average of what was trained gives the average of the updates.

    Args:
        names: the names of the methods, such as ``{"lora", "ia3"}``.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        return ['give a set of names, such as {"lora", "vera"}']
    known = known_methods()
    if unknown := sorted(set(names) - known.keys()):
        return [f"{unknown[0]!r} is no method; the names are {', '.join(known)}"]
    right = {name for name, kind in known.items() if kind.is_linear}
    wrong = [
        f"{name}: its ΔW is a product of trained parts, or a curved function of them" for name in sorted(set(names) - right)
    ]
    missing = len(right - set(names))
    return [*wrong, *([f"{missing} missing: in which formula does every trained number stand alone?"] if missing else [])]
