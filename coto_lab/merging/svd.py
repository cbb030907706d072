"""SVD: a merged adapter is brought back to a small rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.ground.numbers import whole_number
from coto_lab.merging.ensemble import Ensemble
from coto_lab.merging.rule import Rule
from coto_lab.merging.updates import Factors, factors_of, lora_of_factors

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Svd(Rule):
    """What another rule makes, as the nearest update of a given rank in each module, by the Frobenius norm.

    Attributes:
        rank: of the result.
        of: the rule that mixes; its result must be plain LoRA.

    Raises:
        TypeError: ``of`` is no `Rule`.
        ValueError: ``rank`` below 1.

    Source: Eckart and Young 1936; PEFT's ``add_weighted_adapter`` (``"svd"``).
    """

    rank: int = 4
    of: Rule = field(default_factory=Ensemble)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", whole_number("rank", self.rank, 1))
        if not isinstance(self.of, Rule):
            raise TypeError(f"of={self.of!r}: give a rule, such as Ensemble() or Ties(density=0.2).")

    @property
    def averages(self) -> bool:  # type: ignore[override]
        """That of the rule that mixes."""
        return self.of.averages

    def merged(self, adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
        whole = self.of.merged(adapters, weights, base)
        factors = {name: truncated(own, self.rank) for name, (own,) in factors_of([whole]).items()}
        return lora_of_factors(factors, whole)


def truncated(factors: Factors, rank: int) -> Factors:
    """The nearest product of a rank, or of the full rank where that is lower; singular values are shared by both factors."""
    a, b = factors
    left, core_b = torch.linalg.qr(b)  # B = left core_b and Aᵀ = right core_a, so the SVD is one of a small matrix
    right, core_a = torch.linalg.qr(a.T)
    u, s, vh = torch.linalg.svd(core_b @ core_a.T)
    return _shared(left @ u[:, : len(s)], s, vh[: len(s)] @ right.T, rank)


def _shared(u: Float[Tensor, "out k"], s: Float[Tensor, " k"], vh: Float[Tensor, "k in"], rank: int) -> Factors:
    root = s[:rank].sqrt()
    return root[:, None] * vh[:rank], u[:, :rank] * root
