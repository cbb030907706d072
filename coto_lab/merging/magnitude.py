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

    @property
    def averages(self) -> bool:
        """That of the rule that mixes."""
        return self.of.averages

    def combine(self, updates: Float[Tensor, "n ..."], weights: Float[Tensor, " n"], place: int) -> Float[Tensor, " ..."]:
        return self.of.combine(torch.stack([largest(update, self.density) for update in updates]), weights, place)


def largest(update: Float[Tensor, " ..."], density: float) -> Float[Tensor, " ..."]:
    """The largest entries of an update by magnitude, this share of them but at least one, and 0 for all others."""
    if density == 1:
        return update
    sizes = update.abs().flatten()
    mask = torch.zeros_like(sizes)
    mask[sizes.topk(max(1, int(density * len(sizes))), sorted=False).indices] = 1
    return update * mask.view_as(update)
