"""Task arithmetic: the updates are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.merging.ensemble import Ensemble
from coto_lab.merging.rule import UpdateRule, checked_scale

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class TaskArithmetic(UpdateRule):
    """ΔW = scale · Σ wᵢ ΔWᵢ. With scale 1 and weights of 1 it is the plain sum, PEFT's ``"cat"``; with 1/n the ensemble.

    A negative weight takes a task away.

    Attributes:
        scale: of the sum.

    Raises:
        ValueError: ``scale`` is no finite number.

    Source: Ilharco et al. 2023 (arXiv:2212.04089); PEFT's ``add_weighted_adapter`` (``"cat"``).
    """

    scale: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", checked_scale(self.scale))

    def combine(self, updates: Float[Tensor, "n ..."], weights: Float[Tensor, " n"], place: int) -> Float[Tensor, " ..."]:
        return self.scale * torch.einsum("n,n...->...", weights, updates)

    def merged(self, adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
        return Ensemble().merged(adapters, [self.scale * weight for weight in weights], base)
