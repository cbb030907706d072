"""TIES: trim, elect signs, and average what agrees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.merging.magnitude import largest
from coto_lab.merging.rule import UpdateRule, checked_density, checked_scale


@dataclass(frozen=True)
class Ties(UpdateRule):
    """Of each update only the largest entries stay; each entry takes the sign with the larger total; entries with the other
    sign are left out, and the mean of the rest (of those that are not 0) is multiplied by ``scale``.

    Entries are compared within one weight matrix, as in PEFT; the paper compares those of all matrices. Signs are elected
    before weights are applied.

    Attributes:
        density: share of entries of each update that stay.
        scale: of the mean.

    Raises:
        ValueError: ``density`` is not in (0, 1]; ``scale`` is no finite number.

    Source: Yadav et al. 2023 (arXiv:2306.01708); PEFT's ``ties``, on ΔW as ``"ties_svd"`` of ``add_weighted_adapter`` does.
    """

    density: float = 0.2
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "density", checked_density(self.density))
        object.__setattr__(self, "scale", checked_scale(self.scale))

    def combine(self, updates: Float[Tensor, "n ..."], weights: Float[Tensor, " n"], place: int) -> Float[Tensor, " ..."]:
        from peft.utils.merge_utils import calculate_majority_sign_mask, disjoint_merge

        kept = torch.stack([largest(update, self.density) for update in updates])
        agrees = calculate_majority_sign_mask(kept)
        return self.scale * disjoint_merge(torch.einsum("n,n...->n...", weights, kept), agrees)
