"""LoHa: the entry-by-entry product of two low-rank updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from coto_lab.adapters.methods.method import Method

if TYPE_CHECKING:
    from peft import LoHaConfig


@dataclass(frozen=True)
class LoHa(Method):
    """y = W x + s·((B₁ A₁) ⊙ (B₂ A₂)) x with s = alpha / r: four factors, and ΔW can have the rank r².

    Source: Hyeon-Woo et al. 2021 (FedPara, arXiv:2108.06098); Yeh et al. 2023 (LyCORIS, arXiv:2309.14859); PEFT's
    implementation.
    """

    name: ClassVar[str] = "loha"

    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> LoHaConfig:
        from peft import LoHaConfig

        return LoHaConfig(r=r, alpha=alpha, target_modules=list(targets))  # alpha: PEFT says int

    def recognises(self, config: dict[str, Any]) -> bool:
        return config.get("peft_type") == "LOHA"
