"""Making PEFT models, without a warning that no reader can act on, and without loading the base again."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

from torch import nn

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
        return get_peft_model(base, config)


def twin(model: nn.Module) -> nn.Module:
    """A copy of a model that shares its parameters: layers can be replaced in one without the other, at no cost in memory.

    What writes into the parameters of one writes into those of the other (`coto_lab.adapters.configuration.changes_base`).
    """
    return copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
