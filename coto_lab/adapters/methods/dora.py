"""DoRA: the direction of the weight from a low-rank update, its magnitude trained apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from coto_lab.adapters.methods.lora import beyond_lora
from coto_lab.adapters.methods.method import Method

if TYPE_CHECKING:
    from peft import LoraConfig


@dataclass(frozen=True)
class DoRA(Method):
    """y = m · (W + s·B A) x / ‖W + s·B A‖, the norm of each output's weights; the magnitudes m are trained too.

    Source: Liu et al. 2024 (arXiv:2402.09353); PEFT's implementation.
    """

    name: ClassVar[str] = "dora"
    takes_dropout: ClassVar[bool] = True

    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> LoraConfig:
        from peft import LoraConfig

        return LoraConfig(r=r, lora_alpha=alpha, lora_dropout=dropout, use_dora=True, target_modules=list(targets))

    def recognises(self, config: dict[str, Any]) -> bool:
        rest = beyond_lora(config)
        return config.get("peft_type") == "LORA" and rest.pop("use_dora", False) and rest.keys() <= {"fan_in_fan_out"}
