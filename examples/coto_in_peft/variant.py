"""In a patch: a class in ``peft/tuners/lora/variants.py``, and one line in ``Linear.lora_variants``."""

from __future__ import annotations

from typing import Any

from peft.tuners.lora.layer import Linear, LoraVariant
from torch import Tensor


class CotoLinearVariant(LoraVariant):
    """LoRA that a block leaves out in some training steps. Evaluation, merging and saving are those of plain LoRA."""

    @staticmethod
    def init(module: Linear, adapter_name: str, **kwargs: Any) -> None:
        """Start with the adapter taking part."""
        if not hasattr(module, "coto_dropped"):
            module.coto_dropped = {}
            module.other_param_names = (*module.other_param_names, "coto_dropped")  # delete_adapter clears these
        module.coto_dropped[adapter_name] = False

    @staticmethod
    def forward(module: Linear, active_adapter: str, x: Tensor, result: Tensor, **kwargs: Any) -> Tensor:
        """Add the adapter to ``result``, which is the base layer's output, unless it is dropped in this training step."""
        if module.training and module.coto_dropped[active_adapter]:
            return result  # not multiplied by 0: the gradient of A and B must stay None
        lora_A, lora_B = module.lora_A[active_adapter], module.lora_B[active_adapter]
        return result + lora_B(lora_A(module.lora_dropout[active_adapter](x))) * module.scaling[active_adapter]

    @staticmethod
    def merge_safe(module: Linear, active_adapter: str, orig_weight: Tensor) -> Tensor:
        """Whether the adapter is dropped now does not matter: the whole adapter is merged."""
        return orig_weight + module.get_delta_weight(active_adapter).to(orig_weight.dtype)

    @staticmethod
    def merge_unsafe(module: Linear, active_adapter: str, orig_weight: Tensor) -> None:
        """As `merge_safe`, in place."""
        orig_weight.data += module.get_delta_weight(active_adapter)

    @staticmethod
    def unmerge(module: Linear, active_adapter: str, orig_weight: Tensor) -> Tensor:
        """The weight without the adapter."""
        return orig_weight - module.get_delta_weight(active_adapter).to(orig_weight.dtype)
