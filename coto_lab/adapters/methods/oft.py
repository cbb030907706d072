"""OFT: an orthogonal matrix of blocks that turns the inputs of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from coto_lab.adapters.methods.method import Method
from coto_lab.ground.numbers import whole_number

if TYPE_CHECKING:
    from peft import OFTConfig


@dataclass(frozen=True)
class OFT(Method):
    """y = W R x with an orthogonal R = diag(R₁, R₂, ...), of which each block is the Cayley transform of a trained
    skew-symmetric matrix (PEFT approximates its inverse by a short series). Within a block, the lengths of the weight's rows,
    one for each output, and the angles between them stay. There is no rank and no scale: ``r`` and ``alpha`` are not used.

    Attributes:
        block_size: rows of a block; it must divide the inputs of every adapted layer.

    Source: Qiu et al. 2023 (arXiv:2306.07280); PEFT's implementation.
    """

    name: ClassVar[str] = "oft"
    has_rank: ClassVar[bool] = False
    block_size: int = 16

    def __post_init__(self) -> None:
        # A block of one number cannot turn anything.
        object.__setattr__(self, "block_size", whole_number("block_size", self.block_size, 2))

    def misfit(self, layer: nn.Module, r: int) -> str:
        return block_misfit(layer, self.block_size)

    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> OFTConfig:
        from peft import OFTConfig

        return OFTConfig(r=0, oft_block_size=self.block_size, target_modules=list(targets))

    def recognises(self, config: dict[str, Any]) -> bool:
        return config.get("peft_type") == "OFT"


def block_misfit(layer: nn.Module, size: int) -> str:
    """Why blocks of ``size`` cannot be cut from the inputs of a layer; empty where they can."""
    inputs: int | None
    if isinstance(layer, nn.Conv2d):
        inputs = layer.in_channels * layer.kernel_size[0] ** 2  # as PEFT counts those of a square kernel
    else:
        inputs = getattr(layer, "in_features", None) or getattr(layer, "embedding_dim", None)
    if inputs is None or inputs % size == 0:
        return ""
    fitting = ", ".join(str(n) for n in range(2, inputs + 1) if inputs % n == 0)
    return f"blocks of {size} do not divide its {inputs} inputs; {f'blocks of {fitting}' if fitting else 'no blocks'} do"
