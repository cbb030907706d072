"""RandLoRA: a weighted sum of random low-rank products, of full rank together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from coto_lab.adapters.methods.method import Method

if TYPE_CHECKING:
    from peft import RandLoraConfig


@dataclass(frozen=True)
class RandLoRA(Method):
    """y = W x + s·Σᵢ Bᵢ diag(λᵢ) A diag(γᵢ) x with s = alpha / r. The bases A and Bᵢ are drawn once, of rank r, and so many
    that the sum can have full rank; the vectors λ and γ are trained. A *lower* rank has more of them.

    The bases are as large as the largest adapted layer, and cut for smaller ones. They are the same for every seed of a
    `Recipe`: PEFT draws them with a key of its own.

    Source: Albert et al. 2025 (arXiv:2502.00987); PEFT's implementation.
    """

    name: ClassVar[str] = "randlora"
    takes_dropout: ClassVar[bool] = True

    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> RandLoraConfig:
        from peft import RandLoraConfig

        return RandLoraConfig(
            r=r, randlora_alpha=alpha, randlora_dropout=dropout, target_modules=list(targets)
        )  # PEFT says int

    def recognises(self, config: dict[str, Any]) -> bool:
        return config.get("peft_type") == "RANDLORA"
