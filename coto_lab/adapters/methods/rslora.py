"""rsLoRA: LoRA with the scale alpha / √r."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from coto_lab.adapters.methods.lora import LoRA, beyond_lora

if TYPE_CHECKING:
    from peft import LoraConfig


@dataclass(frozen=True)
class RsLoRA(LoRA):
    """y = W x + s·B A x with s = alpha / √r, so that the size of what is learned does not fall as the rank grows.

    Source: Kalajdzievski 2023 (arXiv:2312.03732); PEFT's implementation.
    """

    name: ClassVar[str] = "rslora"

    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> LoraConfig:
        config = super().peft_config(r=r, alpha=alpha, dropout=dropout, targets=targets)
        config.use_rslora = True
        return config

    def recognises(self, config: dict[str, Any]) -> bool:
        return config.get("peft_type") == "LORA" and bool(config.get("use_rslora")) and not beyond_lora(config)

    def scaling(self, r: int, alpha: float) -> float:
        return alpha / math.sqrt(r)
