"""Making PEFT models, without a warning that no reader can act on, and without loading the base again."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel


def add_adapter(base: PreTrainedModel, config: PeftConfig) -> PeftModel:
    """``peft.get_peft_model``; ``base`` is changed by it.

    PEFT asks transformers for ``is_gradient_checkpointing``, whose new name is ``is_activation_checkpointing``. transformers
    warns of the old one, and only PEFT can change what it asks for.
    """
    from peft import get_peft_model

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        if getattr(config, "boft_n_butterfly_factor", 1) == 1:  # PEFT looks for its CUDA extension all the same
            warnings.filterwarnings("ignore", message="Failed to load the CUDA extension|Setting boft_n_butterfly_factor")
        return get_peft_model(base, config)


def without_adapters(model: PeftModel) -> nn.Module:
    """The base model of a PEFT model, with the weights that it has now, and without the adapters; ``model`` is used up."""
    base: nn.Module = model.unload()
    return base


def put_in(model: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """``model`` with new parameters in the place of those of these names; a `twin` of it keeps its own.

    Raises:
        TypeError: it has no parameter of such a name and shape.
    """
    modules = dict(model.named_modules())
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        old = modules[path]._parameters.get(leaf) if path in modules else None
        if old is None or old.shape != tensor.shape:
            raise TypeError(f"the model has no parameter {name} of shape {list(tensor.shape)}.")
        setattr(modules[path], leaf, nn.Parameter(tensor.to(old), requires_grad=False))
    return model


def twin(model: nn.Module) -> nn.Module:
    """A copy of a model that shares its parameters: layers can be replaced in one without the other, at no cost in memory.

    What writes into the parameters of one writes into those of the other (`coto_lab.adapters.configuration.changes_base`).
    """
    return copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
