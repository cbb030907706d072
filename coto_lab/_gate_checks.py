"""Which layers of a model can be gated, which of them share a gate, and which models must be refused.

Every limit stated here was found by running the case; nothing is touched before all checks have passed.
"""

from __future__ import annotations

import re
import sys
import warnings
from typing import Any

from torch import nn

from coto_lab.lora import LoRALinear

# The outermost index in a module's name, and the one of `blocks` within it for backbones made of stages (Swin).
_BLOCK = re.compile(r"^((?:.*?\.)?\d+(?:\.blocks\.\d+)?)(?:\.|$)")

# Initialisations that move part of the base weight into the adapter: with the adapter left out, the base is not the
# pre-trained function any more. The value of `init_lora_weights` starts with one of these.
_REWRITES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "kasa")


def find_adapter_layers(model: nn.Module) -> dict[str, nn.Module]:
    """All adapter layers by their name in ``model``, without the prefix that PEFT adds.

    A layer inside another adapter layer (the output projection of ``nn.MultiheadAttention``) is reached only through the
    outer one, whose gate rules; trainable tokens are no adapter and stay ungated.
    """
    found: dict[str, nn.Module] = {}
    outer = "\0"
    for name, module in model.named_modules():
        if _is_adapter_layer(module) and not name.startswith(f"{outer}."):
            found[name.removeprefix("base_model.model.")] = module
            if not isinstance(getattr(module, "base_layer", None), _peft_layer_classes()):  # nested PEFT wrappers: one each
                outer = name
    return found


def _peft_layer_classes() -> tuple[type, ...]:
    # A model can hold PEFT layers only if PEFT is imported already; importing it here would cost seconds.
    tuners = sys.modules.get("peft.tuners.tuners_utils")
    return (tuners.BaseTunerLayer,) if tuners else ()


def _is_adapter_layer(module: nn.Module) -> bool:
    if type(module).__name__ == "TrainableTokensLayer":
        return False
    return isinstance(module, (LoRALinear, *_peft_layer_classes()))


def check_model(model: nn.Module, layers: dict[str, nn.Module]) -> None:
    """Raise ValueError where gates cannot be right; warn where "dropped" does not mean the pre-trained function.

    See `coto_lab.gates.attach_gates` for the list.
    """
    if not layers:
        raise ValueError(
            f"model ({type(model).__name__}) has no adapter layers. Add adapters first: peft.get_peft_model(model, config), "
            "model.add_adapter(config), or LoRALinear."
        )
    gated = [name for name, layer in layers.items() if hasattr(layer, "_coto_gate")]
    if gated:
        raise ValueError(
            f"model is gated already ({len(gated)} layers, first {gated[0]!r}). Use those gates (gates_of(model)) or take them "
            "off first (gates.detach())."
        )
    check_forward(layers)
    for name, config in _peft_configs(model):
        if str(getattr(config, "peft_type", "")).endswith("ADALORA"):
            raise ValueError(
                f"adapter {name!r} is AdaLoRA: its rank allocator and its orthogonality loss need the gradient of every "
                "layer at every step, so layers cannot be dropped. Use LoRA, rsLoRA, DoRA, HiRA or another method."
            )
        initialisation = "kasa" if getattr(config, "kasa_config", None) else str(getattr(config, "init_lora_weights", ""))
        if initialisation.startswith(_REWRITES_BASE):
            warnings.warn(
                f"adapter {name!r} was initialised with init_lora_weights={initialisation!r}, which rewrites the base weights: "
                "a dropped block does not compute the pre-trained function. CoTo as published assumes that it does.",
                UserWarning,
                stacklevel=3,
            )


def check_forward(layers: dict[str, nn.Module]) -> None:
    """Raise ValueError where ``forward`` was replaced on the instance, so that a change of class would go unnoticed."""
    # Removed accelerate hooks leave the class's own bound method on the instance, which replaces nothing.
    own = {name: vars(layer).get("forward") for name, layer in layers.items() if "forward" in vars(layer)}
    hooked = [name for name, method in own.items() if getattr(method, "__func__", None) is not type(layers[name]).forward]
    if hooked:
        raise ValueError(
            f"the forward method of {hooked[0]!r} ({len(hooked)} such layers) was replaced on the instance, as accelerate's "
            "hooks do for device_map and offloading, so a gate would never be asked. Attach gates before the hooks, and "
            "remove them before detaching: accelerate.hooks.remove_hook_from_module(model, recurse=True)."
        )


def _peft_configs(model: nn.Module) -> list[tuple[str, Any]]:
    # The PEFT model may be a part of ``model``, and several of its modules name the same configs.
    found: dict[int, tuple[str, Any]] = {}
    for module in model.modules():
        configs = getattr(module, "peft_config", None)
        if isinstance(configs, dict):
            found.update({id(config): (name, config) for name, config in configs.items()})
    return list(found.values())


def block_name(name: str) -> str | None:
    """The block that a module is on: ``vit.layers.3`` for ``vit.layers.3.attention.q_proj``; None where it is on none."""
    match = _BLOCK.match(name)
    return match[1] if match else None


def group_layers(layers: dict[str, nn.Module], by: str) -> dict[str, list[str]]:
    """Gate name -> names of its layers, in the model's order.

    Raises:
        ValueError: with ``by="block"``, a layer whose name holds no block index.
    """
    groups = _join_tied(layers) if by == "module" else _join_blocks(layers)
    _warn_shared(layers, groups)
    return groups


def _join_blocks(layers: dict[str, nn.Module]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    homeless = []
    for name in layers:
        block = block_name(name)
        if block:
            groups.setdefault(block, []).append(name)
        else:
            homeless.append(name)
    if homeless:
        raise ValueError(
            f"these adapter layers are on no block (no index in their names): {homeless}. Leave them out of target_modules "
            "(PEFT: exclude_modules), train them whole (modules_to_save), or give every layer its own gate with by='module'."
        )
    return groups


def _join_tied(layers: dict[str, nn.Module]) -> dict[str, list[str]]:
    # An embedding and a head with tied base weights and tied adapters are one adapter: closing one would not stop its
    # parameters from moving through the other. They get one gate, named after the first.
    groups: dict[str, list[str]] = {}
    owner: dict[int, str] = {}
    for name, layer in layers.items():
        tied_base = [_storage(p) for p in layer.base_layer.parameters()]  # type: ignore[union-attr]
        adapter = [_storage(p) for p in layer.parameters() if p.requires_grad]
        shares_both = any(i in owner for i in tied_base) and any(i in owner for i in adapter)
        first = next((owner[i] for i in adapter if i in owner), name) if shares_both else name
        groups.setdefault(first, []).append(name)
        for i in (*tied_base, *adapter):
            owner.setdefault(i, first)
    return groups


def _storage(parameter: nn.Parameter) -> int:
    # PEFT ties two adapters by making one's parameter a transposed view of the other's: two objects, one memory.
    return parameter.data_ptr() or id(parameter)  # without memory of its own (meta device, sharded): the object


def _warn_shared(layers: dict[str, nn.Module], groups: dict[str, list[str]]) -> None:
    owner: dict[int, str] = {}
    for gate, names in groups.items():
        for name in names:
            for parameter_name, parameter in layers[name].named_parameters():
                first = owner.setdefault(_storage(parameter), gate) if parameter.requires_grad else gate
                if first != gate:
                    warnings.warn(
                        f"the gates {first!r} and {gate!r} share the trainable parameter {parameter_name!r} "
                        "(as VBLoRA, Lily, TinyLoRA and UniLoRA do): it keeps training through whichever is open.",
                        UserWarning,
                        stacklevel=4,
                    )
                    return
