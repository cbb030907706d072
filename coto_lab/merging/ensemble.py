"""Ensemble: the updates are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.configuration import function_of
from coto_lab.adapters.names import lora_keys
from coto_lab.adapters.whole_update import lora_of_update
from coto_lab.merging.fuse import Fuse
from coto_lab.merging.rule import UpdateRule
from coto_lab.merging.updates import check_nothing_whole, updates_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Ensemble(UpdateRule):
    """ΔW = Σ wᵢ ΔWᵢ, exactly: for LoRA the factors are stacked along the rank, which becomes Σ rᵢ.

    For other methods give ``base``; the result is a LoRA of full rank (`lora_of_update`), or, where updates are linear in what
    was trained (IA3, MiSS), weights sum to 1 and configurations agree, the fusion itself.

    Source: arXiv:2506.05713, ensemble; PEFT's ``add_weighted_adapter`` (``"cat"``).
    """

    averages: ClassVar[bool] = True

    def combine(self, updates: Float[Tensor, "n ..."], weights: Float[Tensor, " n"], place: int) -> Float[Tensor, " ..."]:
        return torch.einsum("n,n...->...", weights, updates)

    def merged(self, adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
        check_nothing_whole(adapters)
        try:
            parts = [adapter.factors() for adapter in adapters]
        except ValueError:
            if _is_fusion(adapters, weights):
                return Fuse().merged(adapters, weights, base)
            return _of_updates(adapters, weights, base)
        tensors = {}
        for name in parts[0]:
            key_a, key_b = lora_keys(name)
            tensors[key_a] = torch.cat([part[name][0] for part in parts], dim=0)  # [Σ r, in]
            scaled = [w * part[name][1] for part, w in zip(parts, weights, strict=True)]
            tensors[key_b] = torch.cat(scaled, dim=1)  # [out, Σ r], with weight and scale in it
        rank = sum(adapter.config["r"] for adapter in adapters)
        config = adapters[0].config | {"r": rank, "lora_alpha": rank, "use_rslora": False}  # scale 1
        return Adapter(config, tensors)


def _of_updates(adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
    updates = updates_of(adapters, base)
    transposed = base is not None and any(type(base.get_submodule(name)).__name__ == "Conv1D" for name in updates)
    mixed = {
        name: torch.stack([w * update for w, update in zip(weights, own, strict=True)]).sum(0) for name, own in updates.items()
    }
    return lora_of_update(mixed, transposed=transposed)


def _is_fusion(adapters: Sequence[Adapter], weights: Sequence[float]) -> bool:
    """Whether the fusion of adapters is their ensemble, too."""
    linear = all(adapter.method is not None and adapter.method.is_linear for adapter in adapters)
    alike = all(function_of(adapter.config) == function_of(adapters[0].config) for adapter in adapters)
    return linear and alike and math.isclose(math.fsum(weights), 1)
