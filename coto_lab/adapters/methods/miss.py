"""MiSS: one small matrix, which is repeated along the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from coto_lab.adapters.methods.method import Method

if TYPE_CHECKING:
    from peft import MissConfig


@dataclass(frozen=True)
class MiSS(Method):
    """y = W x + Dᵀ S x: S sums up the inputs in r groups, and only D ``[r, out]`` is trained. There is no scale: ``alpha`` is
    not used. At equal rank it has half of LoRA's numbers.

    Source: Kang and Yin 2024 (arXiv:2409.15371); PEFT's implementation.
    """

    name: ClassVar[str] = "miss"
    is_linear: ClassVar[bool] = True
    takes_dropout: ClassVar[bool] = True

    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> MissConfig:
        from peft import MissConfig

        return MissConfig(r=r, miss_dropout=dropout, target_modules=list(targets))

    def recognises(self, config: dict[str, Any]) -> bool:
        return config.get("peft_type") == "MISS"
