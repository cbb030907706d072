"""SVD: a merged adapter is brought back to a small rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

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
    def averages(self) -> bool:
        """That of the rule that mixes."""
        return self.of.averages

    def merged(self, adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
        whole = self.of.merged(adapters, weights, base)
        factors = {name: truncated(own, self.rank) for name, (own,) in factors_of([whole]).items()}
        return lora_of_factors(factors, whole)


def truncated(factors: Factors, rank: int) -> Factors:
    """The nearest product of a rank, or of the full rank where that is lower; singular values are shared by both factors."""
    a, b = factors
    if len(a) >= min(len(b), a.shape[1]):  # an update of full rank: the eigenvectors of ΔW ΔWᵀ are found sooner than its SVD
        update = b.double() @ a.double()
        left = torch.linalg.eigh(update @ update.T).eigenvectors[:, -rank:].to(b)  # of the largest eigenvalues
        core, right = left.T @ b @ a, None
    else:  # B = left core_b and Aᵀ = right core_a, so the SVD is that of a small matrix
        left, core_b = torch.linalg.qr(b)
        right, core_a = torch.linalg.qr(a.T)
        core = core_b @ core_a.T
    u, s, vh = torch.linalg.svd(core, full_matrices=False)
    root = s[:rank].sqrt()
    return root[:, None] * (vh[:rank] if right is None else vh[:rank] @ right.T), left @ u[:, :rank] * root
