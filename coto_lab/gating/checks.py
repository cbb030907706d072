"""Models that cannot be gated, and models in which a dropped block does not compute the pre-trained function.

Every limit stated here was found by running the case. Nothing is changed before all checks have passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from coto_lab.adapters.layers import adapter_parameters
from coto_lab.adapters.names import PREFIX

# Initialisations that move a part of the base weight into the adapter: without the adapter, the base no longer computes the
# pre-trained function. The value of `init_lora_weights` starts with one of these words.
_REWRITES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "kasa")

# Variants of LoRA with a loss of their own, which the caller adds. It reaches every layer, also those that did not run.
_OWN_LOSS = {"monteclora_config": "MonteCLoRA", "kasa_config": "KaSA"}

# Methods whose layers cannot be left out one by one, and the reasons.
_REFUSED = {
    "AdaLoRA": "its rank allocator and its orthogonality loss need the gradient of every layer at every step",
    "Shadow": "its layers pass a second stream of hidden states from one to the next, and every layer must take part",
}


def check_model(model: nn.Module, layers: dict[str, nn.Module]) -> None:
    """Raise ValueError if the model cannot be gated correctly; `coto_lab.gating.gates.attach_gates` has the list of cases."""
    configs = _peft_configs(model)
    if not layers and configs:
        name, config = configs[0]
        raise ValueError(
            f"the method of adapter {name!r}, {_method(config)}, has no adapter layers that could be left out one by one "
            "(prompt and prefix tuning train virtual tokens, for instance), so there is nothing to drop. CoTo needs a method "
            "that adapts the layers of the model, such as LoRA."
        )
    if not layers:
        raise ValueError(
            f"model ({type(model).__name__}) has no adapter layers. Add adapters first: peft.get_peft_model(model, config), "
            "model.add_adapter(config), or LoRALinear."
        )
    gated = [name for name, layer in layers.items() if hasattr(layer, "_coto_gate")]
    if gated:
        raise ValueError(
            f"model is gated already ({len(gated)} layers, first {gated[0].removeprefix(PREFIX)!r}). Use those gates "
            "(gates_of(model)) or take them off first (gates_of(model).detach())."
        )
    check_forward(layers)
    for name, config in configs:
        for method, reason in _REFUSED.items():
            if _method(config) == method.upper():
                raise ValueError(
                    f"adapter {name!r} is {method}: {reason}, so layers cannot be dropped. Use LoRA, rsLoRA, DoRA, HiRA or "
                    "another method."
                )


def check_forward(layers: dict[str, nn.Module]) -> None:
    """Raise ValueError if ``forward`` was replaced on the instance, because a change of class would then have no effect."""
    # Removed accelerate hooks leave the class's own bound method on the instance; this method replaces nothing.
    own = {name: vars(layer).get("forward") for name, layer in layers.items() if "forward" in vars(layer)}
    hooked = [name for name, method in own.items() if getattr(method, "__func__", None) is not type(layers[name]).forward]
    if hooked:
        raise ValueError(
            f"the forward method of {hooked[0].removeprefix(PREFIX)!r} ({len(hooked)} such layers) was replaced on the "
            "instance, as accelerate's hooks do for device_map and offloading, so a gate would never be asked. Attach gates "
            "before the hooks, and remove them before detaching: "
            "accelerate.hooks.remove_hook_from_module(model, recurse=True)."
        )


def left_open(outside: list[str]) -> Iterator[str]:
    """A message that names the adapter layers ``outside`` of all blocks, if there are any."""
    if outside:
        yield (
            f"adapter layers outside of all blocks, which stay open ({len(outside)}): {', '.join(outside[:8])}"
            f"{', ...' if len(outside) > 8 else ''}. This is usual for a pooler, a head, a projection or a downsampling layer. "
            "To gate them as well, pass by='module' or a function that names a gate for each layer; to leave them out, use "
            "exclude_modules in PEFT's configuration."
        )


def limits(model: nn.Module, groups: Mapping[str, Sequence[str]], adapters: dict[str, frozenset[str]]) -> Iterator[str]:
    """One message for each reason why a dropped gate does not leave out exactly what trains on its layers.

    Args:
        model: the model.
        groups: gate -> names of its layers.
        adapters: layer -> names of the adapters that its gate controls.
    """
    ruled = frozenset().union(*adapters.values())
    for name, config in _peft_configs(model):
        if name not in ruled:
            continue
        initialisation = "kasa" if getattr(config, "kasa_config", None) else str(getattr(config, "init_lora_weights", ""))
        if initialisation.startswith(_REWRITES_BASE):
            yield (
                f"adapter {name!r} was initialised with init_lora_weights={initialisation!r}, which rewrites the base weights: "
                "a dropped block does not compute the pre-trained function. The published CoTo assumes that it does."
            )
        for field, method in _OWN_LOSS.items():
            if getattr(config, field, None):
                yield (
                    f"adapter {name!r} is {method}, whose own loss is a sum over all layers: if it is added to the loss of a "
                    "step, it trains dropped adapters too. Do not add it, or expect that dropped blocks change."
                )
    if skipping := [name for name, module in model.named_modules() if _layerdrop(module) > 0]:
        yield (
            f"{skipping[0].removeprefix(PREFIX) or 'the model'!r} skips blocks at random in training (layerdrop "
            f"{_layerdrop(model.get_submodule(skipping[0]))}), also blocks with open gates, so that a step may have nothing to "
            "train. Set layerdrop in the model's configuration to 0."
        )
    yield from _shared(model, groups, adapters)
    yield from _trained_base(model, groups, adapters)


def _shared(model: nn.Module, groups: Mapping[str, Sequence[str]], adapters: dict[str, frozenset[str]]) -> Iterator[str]:
    owner: dict[int, str] = {}
    for gate, names in groups.items():
        for name in names:
            for module, key in adapter_parameters(model.get_submodule(name), adapters[name]):
                parameter: nn.Parameter = module._parameters[key]  # type: ignore[assignment]
                first = owner.setdefault(storage(parameter), gate) if parameter.requires_grad else gate
                if first != gate:
                    path = next(path for path, other in model.get_submodule(name).named_modules() if other is module)
                    yield (
                        f"the gates {first.removeprefix(PREFIX)!r} and {gate.removeprefix(PREFIX)!r} share the trainable "
                        f"parameter {f'{path}.{key}'.removeprefix('.')!r} (as in VBLoRA, Lily, TinyLoRA and UniLoRA): it "
                        "trains whenever one of its gates is open."
                    )
                    return


def _trained_base(model: nn.Module, groups: Mapping[str, Sequence[str]], adapters: dict[str, frozenset[str]]) -> Iterator[str]:
    """A message about trained biases, unfrozen normalisation layers and similar parameters inside gated blocks."""
    modules = dict(model.named_modules())
    names = {name for name, _ in _peft_configs(model)}
    ours = {id(module._parameters[key]) for name in adapters for module, key in adapter_parameters(modules[name], names)}
    scopes = dict.fromkeys(scope for gate, members in groups.items() for scope in ([gate] if gate in modules else members))
    loose = [
        f"{scope}.{name}"
        for scope in scopes
        for name, parameter in modules[scope].named_parameters()
        if parameter.requires_grad and id(parameter) not in ours
    ]
    if loose:
        yield (
            f"{len(loose)} parameters train inside the gated blocks and belong to no gated adapter (first "
            f"{loose[0].removeprefix(PREFIX)!r}; bias='lora_only' and bias='all' do this): a dropped block keeps them and "
            "trains them, so it does not compute the pre-trained function. The published CoTo trains adapters only."
        )


def _layerdrop(module: nn.Module) -> float:
    settings = [getattr(module, "layerdrop", 0.0), getattr(getattr(module, "config", None), "layerdrop", 0.0)]
    return max((float(value) for value in settings if isinstance(value, (int, float))), default=0.0)


def _method(config: Any) -> str:
    return str(getattr(config, "peft_type", "")).rpartition(".")[2].upper()


def _peft_configs(model: nn.Module) -> list[tuple[str, Any]]:
    # The PEFT model may be a part of ``model``, and several of its modules name the same configs. Two adapters may share one
    # config, as TRL's frozen copy of an adapter does.
    found: dict[tuple[str, int], Any] = {}
    for module in model.modules():
        configs = getattr(module, "peft_config", None)
        if isinstance(configs, dict):
            found.update({(name, id(config)): config for name, config in configs.items()})
    return [(name, config) for (name, _), config in found.items()]


def listed(names: Iterable[str]) -> str:
    """Names in the form in which an error message shows them."""
    return ", ".join(map(repr, sorted(names)))


def storage(parameter: nn.Parameter) -> int:
    """A key that is equal for two names of one parameter, and different for two parameters."""
    # PEFT ties two adapters by making the parameter of one a transposed view of the other's: two objects with one memory.
    return parameter.data_ptr() or id(parameter)  # without memory (meta device, sharded), the object identifies it
