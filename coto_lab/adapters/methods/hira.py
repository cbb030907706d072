"""HiRA: a low-rank factor that multiplies the frozen weight, ΔW = W ⊙ BA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from coto_lab.adapters.methods.method import Method

if TYPE_CHECKING:
    from peft import HiraConfig


@dataclass(frozen=True)
class HiRA(Method):
    """y = (W + W ⊙ B A) x, entry by entry, so that ΔW can have a high rank. There is no scale: ``alpha`` is not used.

    Source: Huang et al., ICLR 2025; PEFT's implementation.
    """

    name: ClassVar[str] = "hira"
    takes_dropout: ClassVar[bool] = True

    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> HiraConfig:
        from peft import HiraConfig

        return HiraConfig(r=r, hira_dropout=dropout, target_modules=list(targets))

    def recognises(self, config: dict[str, Any]) -> bool:
        return config.get("peft_type") == "HIRA"
