"""The protocol of a merging rule: one way to make one adapter from several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.whole_update import lora_of_update
from coto_lab.ground.numbers import finite_number, real_number
from coto_lab.merging.updates import is_transposed, updates_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Rule(ABC):
    """A frozen dataclass; its fields are the rule's options."""

    @property
    def averages(self) -> bool:
        """Whether weights are 1/n each by default; where not, they are 1 each."""
        return True

    @abstractmethod
    def merged(self, adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
        """One adapter from several, which `coto_lab.merging.merge` has looked at: of the same modules, float32 at least,
        finite, with one weight each. They are not changed, and nothing is drawn from global random numbers.

        Raises:
            ValueError: adapters that this rule cannot mix.
        """


class UpdateRule(Rule):
    """A rule that mixes the updates ΔW themselves, entry by entry, one weight matrix after the other.

    The result is a LoRA of full rank (`lora_of_update`); `coto_lab.merging.svd.Svd` makes it smaller.
    """

    @property
    def averages(self) -> bool:
        """Weights are 1 each by default: updates are added."""
        return False

    @abstractmethod
    def combine(self, updates: Float[Tensor, "n ..."], weights: Float[Tensor, " n"], place: int) -> Float[Tensor, " ..."]:
        """One update from n.

        Args:
            updates: of the n adapters, of one weight matrix.
            weights: of the adapters.
            place: number of the matrix; what is drawn at random depends on it.
        """

    def merged(self, adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
        shares, mixed = torch.tensor(weights, dtype=torch.float64), {}
        for place, (name, updates) in enumerate(updates_of(adapters, base)):
            mixed[name] = self.combine(updates, shares.to(updates), place)
        return lora_of_update(mixed, transposed=is_transposed(adapters, mixed, base))


def checked_density(density: object) -> float:
    """``density`` as a float.

    Raises:
        ValueError: it is not in (0, 1].
    """
    share = real_number("density", density)
    if not 0 < share <= 1:
        raise ValueError(f"density={density!r}: the share of entries that are kept must be above 0 and at most 1.")
    return share


def checked_scale(scale: object) -> float:
    """``scale`` as a float.

    Raises:
        ValueError: it is no finite number.
    """
    return finite_number("scale", scale)


def check_update_rule(rule: object) -> None:
    """TypeError unless ``rule`` is one that mixes updates entry by entry."""
    if not isinstance(rule, UpdateRule):
        raise TypeError(f"of={rule!r}: give a rule that mixes updates entry by entry, such as TaskArithmetic(0.3) or Ties().")
