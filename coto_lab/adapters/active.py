"""The tensors of the one active adapter of a model, read and written under PEFT's names, whatever the adapter is called."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from coto_lab.adapters.names import PREFIX  # of every name in a file; a model with transformers' `add_adapter` lacks it


def read_active(model: nn.Module) -> tuple[str, dict[str, Tensor]]:
    """The name of the active adapter, and its tensors by the names that PEFT's files have; not copies.

    Raises:
        ValueError: ``model`` has no adapter, or not exactly one is active, or PEFT would confuse its tensors with another's.
    """
    from peft import get_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer

    names, active = _adapters(model)
    if not names:
        raise ValueError(
            f"model, of the class {type(model).__name__}, has no adapter. Give the model that peft.get_peft_model returned, "
            "not its base model and no wrapper (DDP keeps it in model.module, torch.compile in model._orig_mod)."
        )
    if len(active) != 1:
        raise ValueError(
            f"model has the adapters {names}, of which {active or 'none'} are active, but exactly one must be. Choose the "
            f"adapter, for instance with model.set_adapter({(active or names)[0]!r})."
        )
    name = active[0]
    layers = [layer for layer, module in model.named_modules() if isinstance(module, BaseTunerLayer)]
    if ambiguous := {part for layer in layers for part in layer.split(".")} & set(names) - {name}:
        raise ValueError(
            f"model has an adapter named {min(ambiguous)!r}, and names of layers contain this too, such as {layers[0]}: PEFT "
            f"would take tensors of the adapter {name!r} for tensors of the other. Give the other adapter another name."
        )
    tensors = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    if not tensors:
        raise ValueError(
            f"model no longer has layers of its adapter {name!r}, because the adapter was unloaded or merged for good. Read "
            "an adapter before that, and put it on a base model with Adapter.attach."
        )
    return name, {key if _is_peft_model(model) else PREFIX + key: tensor for key, tensor in tensors.items()}


def write_active(model: nn.Module, name: str, tensors: dict[str, Tensor]) -> None:
    """Write ``tensors``, whose names and shapes are those of `read_active`, into the adapter ``name``.

    Raises:
        ValueError: the model computes with something else than these tensors; it is as before.
    """
    from peft import set_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer

    for layer, module in model.named_modules():
        if isinstance(module, BaseTunerLayer) and module.merged:
            raise ValueError(
                f"model has {module.merged_adapters} merged into the base weights of {layer}, and new tensors would have no "
                "effect. Call model.unmerge_adapter() first; a transformers model without it has unmerge() on each layer."
            )
    encoders = getattr(model, "prompt_encoder", {})
    if name in encoders and len(list(encoders[name].parameters())) > 1:  # more than the prompt's embedding
        raise ValueError(
            f"the adapter {name!r} of the model computes its prompt with a network, which an Adapter does not hold. Use "
            "Adapter.attach on the base model instead."
        )
    own_names = {key if _is_peft_model(model) else key.removeprefix(PREFIX): tensor for key, tensor in tensors.items()}
    set_peft_model_state_dict(model, own_names, adapter_name=name)


def _is_peft_model(model: nn.Module) -> bool:
    from peft import PeftMixedModel, PeftModel

    return isinstance(model, (PeftModel, PeftMixedModel))


def _adapters(model: Any) -> tuple[list[str], list[str]]:
    """The names of all adapters and of the active ones; none for a base model that PEFT wrapped, or for a wrapper."""
    if _is_peft_model(model):
        return sorted(model.peft_config), model.active_adapters
    has_methods = callable(getattr(type(model), "active_adapters", None))  # those of transformers, as `add_adapter`
    if has_methods and getattr(model, "_hf_peft_config_loaded", False):
        return sorted(model.peft_config), model.active_adapters()
    return [], []
