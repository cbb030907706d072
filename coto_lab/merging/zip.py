"""ZipLoRA: each adapter gets a coefficient for each input column of each layer, and the coefficients are learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coto_lab.adapters.adapter import Adapter
from coto_lab.ground.numbers import MAX_SEED, finite_number, whole_number
from coto_lab.merging.updates import Factors, lora_of_factors


@dataclass(frozen=True)
class Zip:
    """ΔW = Σ mᵢ ⊙ ΔWᵢ, with one learned coefficient per input column: column c of ΔWᵢ is multiplied by mᵢ[c].

    The coefficients minimise, summed over the tasks, the squared distance between what the merged model and what the task's own
    adapter predict for examples of the task (a mean over all numbers of a prediction), plus ``penalty`` times the overlap: the
    mean of |mᵢ ⊙ mⱼ| over columns and pairs of adapters, summed over layers. The optimiser is Adam. `fit_merge` runs it.

    Attributes:
        steps: of the optimiser.
        lr: learning rate.
        start: all coefficients at the beginning; None takes 1/n for n adapters, which is the ensemble. The paper merges two
            adapters and starts from 1, their sum, which of more adapters is far from what any of them computes.
        penalty: weight of the overlap.
        batch_size: examples of each task in a step.
        seed: decides their order.

    Raises:
        ValueError: ``steps`` or ``batch_size`` below 1; ``lr`` not above 0; a negative ``penalty``; a ``start`` that is not
            finite; ``seed`` is no whole number from 0.

    Source: Shah et al. 2023 (arXiv:2311.13600), for two adapters; pairs of more are ours.
    """

    steps: int = 100
    lr: float = 3e-2
    start: float | None = None
    penalty: float = 0.01
    batch_size: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), 1))
        object.__setattr__(self, "seed", whole_number("seed", self.seed, 0, MAX_SEED))
        for name in ("lr", "penalty", *(() if self.start is None else ("start",))):
            object.__setattr__(self, name, finite_number(name, getattr(self, name)))
        if self.lr <= 0:
            raise ValueError(f"lr={self.lr!r}: the learning rate must be above 0.")
        if self.penalty < 0:
            raise ValueError(f"penalty={self.penalty!r}: the weight of the overlap must not be negative.")


class Columns(nn.Module):
    """The coefficients of one layer, as a parametrisation of its stacked factor A.

    Args:
        ranks: of the n adapters in this layer.
        inputs: how many input columns it has.
        start: all coefficients at the beginning.

    Attributes:
        coefficients: ``[n, in]``.
    """

    owners: Tensor

    def __init__(self, ranks: Sequence[int], inputs: int, start: float):
        super().__init__()
        self.coefficients = nn.Parameter(torch.full((len(ranks), inputs), start))
        self.register_buffer("owners", torch.repeat_interleave(torch.tensor(ranks)))

    def forward(self, a: Float[Tensor, "rank in"]) -> Float[Tensor, "rank in"]:
        """Each row of A, times the coefficients of the adapter that it is from; rows of zeros that fill up the rank stay."""
        own = self.coefficients[self.owners].to(a.dtype)
        return torch.cat([a[: len(own)] * own, a[len(own) :]])

    def overlap(self) -> Float[Tensor, ""]:
        """The mean of |mᵢ ⊙ mⱼ| over columns and pairs; 0 for one adapter."""
        one, other = torch.triu_indices(len(self.coefficients), len(self.coefficients), 1)
        products = (self.coefficients[one] * self.coefficients[other]).abs()  # [pairs, in]
        return products.sum() / max(products.numel(), 1)


def zipped(
    factors: Mapping[str, Sequence[Factors]], coefficients: Mapping[str, Float[Tensor, "n in"]], like: Adapter
) -> Adapter:
    """The plain LoRA with the update Σ mᵢ ⊙ ΔWᵢ in each module, of rank Σ rᵢ.

    Args:
        factors: module -> A and B of each of n adapters (`coto_lab.merging.updates.factors_of`).
        coefficients: module -> the mᵢ.
        like: has the configuration of everything but rank and scale.
    """
    merged = {
        name: (
            torch.cat([a * m for (a, _), m in zip(own, coefficients[name].to(own[0][0]), strict=True)]),
            torch.cat([b for _, b in own], dim=1),
        )
        for name, own in factors.items()
    }
    return lora_of_factors(merged, like)
