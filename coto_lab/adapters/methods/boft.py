"""BOFT: a product of sparse orthogonal matrices, and a trained scale for every output."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from coto_lab.adapters.methods.method import Method
from coto_lab.adapters.methods.oft import block_misfit
from coto_lab.ground.numbers import whole_number

if TYPE_CHECKING:
    from peft import BOFTConfig


@dataclass(frozen=True)
class BOFT(Method):
    """y = diag(s) W R x with an orthogonal R, a product of block matrices that are shuffled like a butterfly, and a vector s
    that starts at 1. There is no rank and no scale alpha / r: ``r`` and ``alpha`` are not used.

    Attributes:
        block_size: rows of a block; it must divide the inputs of every adapted layer.
        butterfly_factors: how many block matrices are multiplied. More than one needs PEFT's CUDA extension, which PEFT builds
            when it is first used. (Without it, PEFT alone would take one.)

    Source: Liu et al. 2023 (arXiv:2311.06243); PEFT's implementation.
    """

    name: ClassVar[str] = "boft"
    has_rank: ClassVar[bool] = False
    block_size: int = 8
    butterfly_factors: int = 1

    def __post_init__(self) -> None:
        for name, least in (("block_size", 2), ("butterfly_factors", 1)):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least))

    def misfit(self, layer: nn.Module, r: int) -> str:
        if self.butterfly_factors > 1 and not _has_cuda_extension():
            return (
                f"butterfly_factors={self.butterfly_factors} needs PEFT's CUDA extension, which cannot be built here; "
                "butterfly_factors=1 works without it"
            )
        return block_misfit(layer, self.block_size * 2 ** (self.butterfly_factors - 1))

    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> BOFTConfig:
        from peft import BOFTConfig

        return BOFTConfig(
            boft_block_size=self.block_size,
            boft_n_butterfly_factor=self.butterfly_factors,
            target_modules=list(targets),
        )

    def recognises(self, config: dict[str, Any]) -> bool:
        return config.get("peft_type") == "BOFT"


def _has_cuda_extension() -> bool:
    from peft.tuners.boft.layer import get_fbd_cuda

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to load the CUDA extension|Setting boft_n_butterfly_factor")
        return get_fbd_cuda() is not None
