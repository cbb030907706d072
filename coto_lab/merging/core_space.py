"""Core Space: updates are mixed in a small basis that all adapters share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from coto_lab.adapters.adapter import Adapter
from coto_lab.merging.rule import Rule, UpdateRule, check_update_rule
from coto_lab.merging.ties import Ties
from coto_lab.merging.updates import Factors, factors_of, lora_of_factors

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class CoreSpace(Rule):
    """Columns of all B span U, and rows of all A span V; each update is U M Vᵀ without loss, and another rule mixes the M.

    With a rule that adds updates, such as `TaskArithmetic`, nothing changes. A rule that looks at entries, such as `Ties`,
    compares directions that the adapters use, and not places in the weight matrix. Nothing larger than Σr x Σr is mixed, and
    the rank of the result is at most Σr. (KnOTS, arXiv:2410.19735, shares one side of this basis.)

    Attributes:
        of: the rule that mixes.

    Raises:
        TypeError: ``of`` is no `UpdateRule`.

    Source: Panariello et al. 2025 (arXiv:2509.17786), with singular vectors of the stacked factors as the basis.
    """

    of: UpdateRule = field(default_factory=Ties)

    def __post_init__(self) -> None:
        check_update_rule(self.of)

    @property
    def averages(self) -> bool:
        """That of the rule that mixes."""
        return self.of.averages

    def merged(self, adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
        mixed = {name: self._module(own, weights, i) for i, (name, own) in enumerate(factors_of(adapters).items())}
        return lora_of_factors(mixed, adapters[0])

    def _module(self, factors: list[Factors], weights: Sequence[float], place: int) -> Factors:
        left = torch.linalg.svd(torch.cat([b for _, b in factors], dim=1), full_matrices=False)[0]  # [out, ρ]
        right = torch.linalg.svd(torch.cat([a for a, _ in factors]), full_matrices=False)[2]  # [σ, in]
        cores = torch.stack([(left.T @ b) @ (a @ right.T) for a, b in factors])  # [n, ρ, σ]
        core = self.of.combine(cores, torch.tensor(weights, dtype=cores.dtype, device=cores.device), place)
        return right, left @ core
