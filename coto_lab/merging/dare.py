"""DARE: drop entries of each update at random, and rescale the rest."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.ground.numbers import MAX_SEED, whole_number
from coto_lab.merging.rule import UpdateRule, check_update_rule, checked_density
from coto_lab.merging.task_arithmetic import TaskArithmetic


@dataclass(frozen=True)
class Dare(UpdateRule):
    """Each entry of each update stays with the probability ``density`` and is then divided by it, so that its expectation
    stays; another rule mixes what is left.

    Attributes:
        density: share of entries of each update that stay, on average.
        seed: decides which.
        of: the rule that mixes: `TaskArithmetic` (PEFT's ``"dare_linear_svd"``) or `Ties` with density 1 (``"dare_ties_svd"``).

    Raises:
        TypeError: ``of`` is no `UpdateRule`.
        ValueError: ``density`` is not in (0, 1]; ``seed`` is no whole number from 0.

    Source: Yu et al. 2024 (arXiv:2311.03099); PEFT's ``prune(..., method="random", rescale=True)``, with random numbers of
    its own.
    """

    density: float = 0.5
    seed: int = 0
    of: UpdateRule = field(default_factory=TaskArithmetic)

    def __post_init__(self) -> None:
        object.__setattr__(self, "density", checked_density(self.density))
        object.__setattr__(self, "seed", whole_number("seed", self.seed, 0, MAX_SEED))
        check_update_rule(self.of)

    @property
    def averages(self) -> bool:
        """That of the rule that mixes."""
        return self.of.averages

    def combine(self, updates: Float[Tensor, "n ..."], weights: Float[Tensor, " n"], place: int) -> Float[Tensor, " ..."]:
        generator = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, place, 0, 0]))
        stays = torch.from_numpy(generator.random(updates.shape) < self.density).to(updates.device)
        return self.of.combine(updates * stays / self.density, weights, place)
