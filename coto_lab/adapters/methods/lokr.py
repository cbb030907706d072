"""LoKr: a Kronecker product of two small matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from coto_lab.adapters.methods.method import Method
from coto_lab.ground.numbers import whole_number

if TYPE_CHECKING:
    from peft import LoKrConfig


@dataclass(frozen=True)
class LoKr(Method):
    """y = W x + s·(C ⊗ D) x with s = alpha / r; D is a product of rank r where this takes fewer numbers than D itself.

    Attributes:
        decompose_factor: C has at most so many rows and columns; -1: about the square root of those of W.

    Source: Yeh et al. 2023 (LyCORIS, arXiv:2309.14859); PEFT's implementation.
    """

    name: ClassVar[str] = "lokr"
    decompose_factor: int = -1

    def __post_init__(self) -> None:
        object.__setattr__(self, "decompose_factor", whole_number("decompose_factor", self.decompose_factor, -1))
        if self.decompose_factor in (0, 1):
            raise ValueError(f"decompose_factor={self.decompose_factor}: must be -1, or 2 and above.")

    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> LoKrConfig:
        from peft import LoKrConfig

        return LoKrConfig(r=r, alpha=alpha, decompose_factor=self.decompose_factor, target_modules=list(targets))

    def recognises(self, config: dict[str, Any]) -> bool:
        return config.get("peft_type") == "LOKR"
