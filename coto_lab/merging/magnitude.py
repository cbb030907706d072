"""Magnitude pruning before merging: the small entries of each update are left out."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.merging.rule import UpdateRule, check_update_rule, checked_density
from coto_lab.merging.task_arithmetic import TaskArithmetic


@dataclass(frozen=True)
class Magnitude(UpdateRule):
    """Of each update only the largest entries stay, and another rule mixes what is left.

    Attributes:
        density: share of entries of each update that stay.
        of: the rule that mixes.

    Raises:
        TypeError: ``of`` is no `UpdateRule`.
        ValueError: ``density`` is not in (0, 1].

    Source: PEFT's ``magnitude_prune``, on ΔW as ``"magnitude_prune_svd"`` of ``add_weighted_adapter`` does.
    """

    density: float = 0.5
    of: UpdateRule = field(default_factory=TaskArithmetic)

    def __post_init__(self) -> None:
        object.__setattr__(self, "density", checked_density(self.density))
        check_update_rule(self.of)

    def combine(self, updates: Float[Tensor, "n ..."], weights: Float[Tensor, " n"], place: int) -> Float[Tensor, " ..."]:
        from peft.utils.merge_utils import prune

        kept = [prune(update, self.density, method="magnitude") for update in updates]
        return self.of.combine(torch.stack(kept), weights, place)
