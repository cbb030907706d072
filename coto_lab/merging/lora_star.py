"""LoRA*: the factors are turned towards each other before they are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from coto_lab.adapters.adapter import Adapter
from coto_lab.merging.rule import Rule
from coto_lab.merging.updates import Factors, factors_of, lora_of_factors

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class LoRAStar(Rule):
    """Fusion after alignment: A → P⁻¹A and B → BP leave ΔW as it is, so each adapter first takes the orthogonal P that brings
    its factors nearest to those of the first adapter.

    This is the orthogonal Procrustes problem of the stacked factors [B; Aᵀ]: P = UVᵀ, from the singular value decomposition of
    BᵢᵀB₀ + AᵢA₀ᵀ. The first adapter is the measure, so the order of the adapters matters a little.

    Raises:
        ValueError: when it merges: adapters of different ranks.

    Source: arXiv:2506.05713, LoRA* (its alignment matrix is optimised; how, is not public); Schönemann 1966 for P.
    """

    def merged(self, adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
        parts = factors_of(adapters)
        ranks = [len(a) for a, _ in next(iter(parts.values()))]
        if len(set(ranks)) > 1:
            raise ValueError(
                f"the adapters have the ranks {ranks}: LoRA* averages factors of one rank. Use Ensemble(), Lego() or Svd()."
            )
        return lora_of_factors({name: _module(own, weights) for name, own in parts.items()}, adapters[0])


def _module(factors: list[Factors], weights: Sequence[float]) -> Factors:
    balanced = [_balanced(own) for own in factors]
    turned = [aligned(own, balanced[0]) for own in balanced]
    pairs = list(zip(weights, turned, strict=True))
    return torch.stack([w * a for w, (a, _) in pairs]).sum(0), torch.stack([w * b for w, (_, b) in pairs]).sum(0)


def _balanced(factors: Factors) -> Factors:
    """The same product from factors of equal norm: else the longer factor alone would decide about P."""
    a, b = factors
    ratio = (b.norm() / a.norm()).sqrt()
    return (a * ratio, b / ratio) if ratio > 0 and ratio.isfinite() else factors


def aligned(factors: Factors, target: Factors) -> Factors:
    """Factors of the same product, turned as near to those of ``target`` as an orthogonal matrix can."""
    a, b = factors
    u, _, vh = torch.linalg.svd(b.T @ target[1] + a @ target[0].T)
    turn = u @ vh  # [r, r]
    return turn.T @ a, b @ turn
