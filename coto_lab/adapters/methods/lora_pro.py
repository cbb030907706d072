"""LoRA-Pro: LoRA, trained so that the weight moves as full fine-tuning would move it, as nearly as a product can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from coto_lab.adapters.lora_pro_optimizer import FORMS, LoRAProOptimizer
from coto_lab.adapters.methods.lora import LoRA


@dataclass(frozen=True)
class LoRAPro(LoRA):
    """LoRA with adjusted gradients; what it trains is a LoRA adapter like any other.

    Source: Wang et al. 2024 (arXiv:2407.18242); see `coto_lab.adapters.lora_pro_optimizer`.

    Attributes:
        form: "adam", with Adam's moments of the whole weight ``[out, in]`` of every module, or "sgd", without moments:
            its learning rates are those of gradient descent.

    Raises:
        ValueError: another form.
    """

    name: ClassVar[str] = "lora-pro"
    form: str = "adam"

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"form={self.form!r}: must be one of {', '.join(map(repr, FORMS))}.")

    def misfit(self, layer: nn.Module, r: int) -> str:
        matrix = getattr(getattr(layer, "weight", None), "dim", lambda: 2)() == 2 and not isinstance(layer, nn.Embedding)
        return "" if matrix else "its optimiser trains factors of the weight matrix of a linear layer, and this is none"

    def optimizer(self, groups: Sequence[dict[str, Any]]) -> LoRAProOptimizer:
        return LoRAProOptimizer(groups, form=self.form)
