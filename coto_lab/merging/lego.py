"""LoRA-LEGO: the ranks of all adapters are clustered, and each cluster becomes one rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.ground.numbers import MAX_SEED, whole_number
from coto_lab.merging.rule import Rule
from coto_lab.merging.updates import Factors, factors_of, lora_of_factors

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Lego(Rule):
    """The smallest unit of a LoRA is one rank: a row of A and the column of B that belongs to it.

    The units of all adapters, scaled to length 1, are clustered by k-means, module by module. Each cluster becomes one rank of
    the result: the weighted mean of its units, brought to the mean of their lengths. The update is multiplied by √(r / k), with
    r the mean rank of the adapters and k the number of clusters.

    Attributes:
        rank: how many clusters; None takes the highest rank of the adapters. Where units repeat exactly, there are fewer.
        seed: of k-means.

    Raises:
        ValueError: ``rank`` below 1, or above the number of units; ``seed`` is no whole number from 0; a negative weight.

    Source: Zhao et al. 2025 (arXiv:2409.16167), minimal semantic units, parameter and output reweighting. Its authors' code is
    not public; lengths are Euclidean here, of row and column as one vector.
    """

    rank: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank is not None:
            object.__setattr__(self, "rank", whole_number("rank", self.rank, 1))
        object.__setattr__(self, "seed", whole_number("seed", self.seed, 0, min(MAX_SEED, 2**32 - 1)))

    def merged(self, adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
        if any(weight <= 0 for weight in weights):
            raise ValueError(f"weights={list(weights)!r}: LoRA-LEGO takes means of units, so each weight must be above 0.")
        parts = factors_of(adapters)
        ranks = [len(a) for a, _ in next(iter(parts.values()))]
        k = max(ranks) if self.rank is None else self.rank
        if k > sum(ranks):
            raise ValueError(f"rank={k}: the adapters have {sum(ranks)} ranks together, so there are at most so many clusters.")
        shares = torch.tensor([w for w, r in zip(weights, ranks, strict=True) for _ in range(r)])
        return lora_of_factors({name: self._module(own, shares, k) for name, own in parts.items()}, adapters[0])

    def _module(self, factors: list[Factors], shares: Tensor, k: int) -> Factors:
        inputs = factors[0][0].shape[1]
        units = torch.cat([torch.cat([a, b.T], dim=1) for a, b in factors])  # [Σ r, in + out]
        means = torch.stack([self._mean(units[own], shares[own]) for own in self._clusters(units, k)])
        output = (len(units) / len(factors) / len(means)) ** 0.5
        return means[:, :inputs], output * means[:, inputs:].T

    def _clusters(self, units: Tensor, k: int) -> list[Tensor]:
        """Which units make each cluster: masks."""
        from sklearn.cluster import KMeans

        directions = torch.nn.functional.normalize(units.double(), dim=1)
        distinct = len(torch.unique(directions, dim=0))
        labels = KMeans(min(k, distinct), n_init=1, random_state=self.seed).fit_predict(directions.cpu().numpy())
        found = torch.from_numpy(labels).to(units.device)
        return [found == label for label in found.unique()]  # k-means may leave a cluster empty where units nearly repeat

    @staticmethod
    def _mean(units: Tensor, shares: Tensor) -> Tensor:
        """The weighted mean of a cluster's units, of their mean length; 0 where they cancel each other."""
        own = shares.to(units) / shares.sum()
        centre, length = own @ units, own @ units.norm(dim=1)
        norm = centre.norm()
        return centre * (length / norm) if norm > torch.finfo(units.dtype).eps * length else torch.zeros_like(centre)
