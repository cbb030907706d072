"""Ensemble: the updates are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.configuration import function_of
from coto_lab.adapters.methods.lora import more_than_a_product
from coto_lab.merging.fuse import Fuse
from coto_lab.merging.rule import UpdateRule
from coto_lab.merging.updates import check_nothing_whole, check_shapes, lora_of_factors

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Ensemble(UpdateRule):
    """ΔW = Σ wᵢ ΔWᵢ, exactly: for LoRA the factors are stacked along the rank, which becomes Σ rᵢ.

    For other methods give ``base``; the result is a LoRA of full rank (`lora_of_update`), or, where updates are linear in what
    was trained (IA3, MiSS), weights sum to 1 and configurations agree, the fusion itself.

    Source: arXiv:2506.05713, ensemble; PEFT's ``add_weighted_adapter`` (``"cat"``).
    """

    @property
    def averages(self) -> bool:
        """Weights are 1/n each by default."""
        return True

    def combine(self, updates: Float[Tensor, "n ..."], weights: Float[Tensor, " n"], place: int) -> Float[Tensor, " ..."]:
        return torch.einsum("n,n...->...", weights, updates)

    def merged(self, adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
        check_nothing_whole(adapters)
        if any(more_than_a_product(adapter) for adapter in adapters):
            if _is_fusion(adapters, weights):
                return Fuse().merged(adapters, weights, base)
            return super().merged(adapters, weights, base)
        parts, stacked = [adapter.factors() for adapter in adapters], {}
        for name in parts[0]:
            check_shapes(name, own := [part[name] for part in parts])
            scaled = [w * b for w, (_, b) in zip(weights, own, strict=True)]
            stacked[name] = torch.cat([a for a, _ in own]), torch.cat(scaled, dim=1)  # [Σ r, in], [out, Σ r]
        return lora_of_factors(stacked, adapters[0])


def _is_fusion(adapters: Sequence[Adapter], weights: Sequence[float]) -> bool:
    """Whether the fusion of adapters is their ensemble, too."""
    linear = all(adapter.method is not None and adapter.method.is_linear for adapter in adapters)
    alike = all(function_of(adapter.config) == function_of(adapters[0].config) for adapter in adapters)
    return linear and alike and math.isclose(math.fsum(weights), 1)
