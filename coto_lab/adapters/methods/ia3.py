"""IA3: a trained factor for every output of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from coto_lab.adapters.methods.method import Method

if TYPE_CHECKING:
    from peft import IA3Config


@dataclass(frozen=True)
class IA3(Method):
    """y = l ⊙ (W x + b) with a vector l that starts at 1. There is no rank and no scale: ``r`` and ``alpha`` are not used.

    The paper also scales the inputs of a feed-forward layer; here it is the outputs of all adapted layers.

    Source: Liu et al. 2022 (arXiv:2205.05638); PEFT's implementation.
    """

    name: ClassVar[str] = "ia3"
    is_linear: ClassVar[bool] = True
    has_rank: ClassVar[bool] = False

    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> IA3Config:
        from peft import IA3Config

        return IA3Config(target_modules=list(targets), feedforward_modules=[])

    def recognises(self, config: dict[str, Any]) -> bool:
        return config.get("peft_type") == "IA3"
