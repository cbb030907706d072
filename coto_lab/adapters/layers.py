"""The adapter layers of a model, and which of the adapters on them train."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from torch import nn

from coto_lab.adapters.lora import LoRALinear

_OWN = "default"  # what the one adapter of a `LoRALinear` is called: it has no name, PEFT's usual one is as good as any


def find_adapter_layers(model: nn.Module) -> dict[str, nn.Module]:
    """All adapter layers by their name in ``model``.

    A layer inside another adapter layer (the output projection of ``nn.MultiheadAttention``) is reached only through the
    outer one, whose gate rules; trainable tokens are no adapter and stay ungated.
    """
    found: dict[str, nn.Module] = {}
    outer = "\0"
    for name, module in model.named_modules():
        if _is_adapter_layer(module) and not name.startswith(f"{outer}."):
            found[name] = module
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


def adapters_to_gate(layers: dict[str, nn.Module]) -> dict[str, frozenset[str]]:
    """The adapters that gates rule, by layer: the active ones that train; where none trains (inference), the active ones.

    Layers without such an adapter are left out.
    """
    active = {name: active_adapters(layer) & _available_adapters(layer) for name, layer in layers.items()}
    training = {
        name: frozenset(
            adapter
            for adapter in adapters
            if any(module._parameters[key].requires_grad for module, key in adapter_parameters(layers[name], {adapter}))  # type: ignore[union-attr]
        )
        for name, adapters in active.items()
    }
    ruled = training if any(training.values()) else active
    return {name: adapters for name, adapters in ruled.items() if adapters}


def active_adapters(layer: nn.Module) -> frozenset[str]:
    """The adapters that are active in the model: PEFT lists all of them in every layer, also in layers without them."""
    return frozenset({_OWN}) if isinstance(layer, LoRALinear) else frozenset(layer.active_adapters)  # type: ignore[arg-type]


def _available_adapters(layer: nn.Module) -> frozenset[str]:
    return frozenset({_OWN}) if isinstance(layer, LoRALinear) else frozenset(layer._get_available_adapters())  # type: ignore[operator]


def adapter_parameters(layer: nn.Module, adapters: frozenset[str] | set[str]) -> Iterator[tuple[nn.Module, str]]:
    """Where the parameters of the named ``adapters`` of a layer are: pairs (module, name of its parameter).

    PEFT puts them under the adapter's name, as in ``lora_A.default.weight``. Places, not parameters: sharding (FSDP2) puts
    other parameters there.
    """
    if isinstance(layer, LoRALinear):
        yield from ((layer, "lora_A"), (layer, "lora_B"))
        return
    for path, module in layer.named_modules():
        for key, parameter in module._parameters.items():
            if parameter is not None and not adapters.isdisjoint([*path.split("."), key]):
                yield module, key


def frozen_adapters(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """Where the adapter parameters are that do not train: pairs (module, name of its parameter)."""
    layers = find_adapter_layers(model).values()
    places = (place for layer in layers for place in adapter_parameters(layer, _available_adapters(layer)))
    return [(module, key) for module, key in places if not module._parameters[key].requires_grad]  # type: ignore[union-attr]


def peft_configs(model: nn.Module) -> dict[int, str]:
    """Names of the adapters of a model by the identity of their configurations, which a later adapter does not share."""
    configs = getattr(model, "peft_config", None)
    return {id(config): name for name, config in configs.items()} if isinstance(configs, dict) else {}
