"""What a method of adaptation is: its PEFT configuration, its optimiser, and what its adapters do to the weights."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from coto_lab.adapters.layers import find_adapter_layers
from coto_lab.adapters.names import PREFIX

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

Factors = dict[str, tuple[Tensor, Tensor]]


class State(Protocol):
    """What a method looks at in an `Adapter`, which it does not import: an adapter looks for its method."""

    @property
    def config(self) -> dict[str, Any]:
        """The PEFT configuration as plain JSON values."""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Parameters by PEFT's names."""

    def attach(self, base: PreTrainedModel) -> PeftModel:
        """``base`` with this adapter on it."""


AnyState = TypeVar("AnyState", bound=State)


@dataclass(frozen=True)
class Method(ABC):
    """A method of adaptation. Its fields are its options, all with defaults; rank, alpha and dropout come from the `Recipe`.

    A subclass is a frozen dataclass in a file of its own in this folder; see "Add a method" in CONTRIBUTING.md.

    Attributes:
        name: what ``Recipe(method=...)`` calls it.
        trains_in_rows: whether `fit_many` may train several of its adapters on one base, as rows of one batch. This takes an
            update that is s·BA, and an optimiser that treats every group by itself.
        takes_dropout: whether ``Recipe(dropout=...)`` may be above 0: PEFT can drop entries of its adapter's input.
        has_rank: whether ``Recipe(r=...)`` decides its size.
        is_linear: whether averaged parameters, with weights that sum to 1, are the averaged update: ΔW is linear in what is
            trained, but for a constant.
        rewrites_base: whether its start moves a part of the base's weights into the adapter.
    """

    name: ClassVar[str]
    trains_in_rows: ClassVar[bool] = False
    takes_dropout: ClassVar[bool] = False
    has_rank: ClassVar[bool] = True
    is_linear: ClassVar[bool] = False
    rewrites_base: ClassVar[bool] = False

    @abstractmethod
    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> PeftConfig:
        """PEFT's configuration of an adapter on the layers whose names end with ``targets``."""

    @abstractmethod
    def recognises(self, config: dict[str, Any]) -> bool:
        """Whether an adapter with this PEFT configuration (plain JSON values) is of this method.

        A method whose trained adapters are those of another, such as one that only optimises otherwise, says False.
        """

    def optimizer(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """What trains the adapter: AdamW, unless the method has an optimiser of its own.

        Args:
            groups: torch's parameter groups, one for each recipe, each with ``params``, ``lr`` and ``weight_decay``; with
                ``names``, PEFT's names of the parameters; with ``row``, the place of its recipe; and with `scaling`. An
                optimiser may split a group. Each part keeps these entries, and may have an ``lr_ratio``: its learning rate is
                so many times that of the recipe.
        """
        return torch.optim.AdamW(groups, fused=True)

    def scaling(self, r: int, alpha: float) -> float:
        """The scale s of an update s·BA; 1 for a method without such a scale."""
        return 1.0

    def misfit(self, layer: nn.Module, r: int) -> str:
        """Why the method cannot adapt a layer of the base, in words that follow a colon; empty where PEFT is to decide."""
        return ""

    def finished(self, adapter: AnyState, start: AnyState) -> AnyState:
        """The trained adapter as it is kept: on the base as it was pre-trained.

        Args:
            adapter: as PEFT gives it after the training.
            start: as it was at the beginning; both have the factors alone, of one rank.
        """
        return adapter

    def factors(self, adapter: State) -> Factors | None:
        """The update of every module as a product ΔW = B A: name -> (A ``[r, in]``, B ``[out, r]``), the scale in B.

        Names are PEFT's: ``base_model.model.`` and the module's. None: it is no such product, and the adapter is scored by
        itself.
        """
        return None

    def update(self, adapter: State, base: PreTrainedModel) -> dict[str, Tensor]:
        """What the adapter adds to the weight of every adapted module; see `merged_update`, which is the default."""
        return merged_update(adapter, base)


def merged_update(adapter: State, base: PreTrainedModel) -> dict[str, Tensor]:
    """ΔW, the weight after PEFT's merge minus the weight of ``base``, of any PEFT method that can be merged.

    The merge is computed in float64, one layer after the other, on a copy: ``base`` stays as it is.

    Returns:
        The base's own name of each adapted module -> ΔW, float32 at least, on the adapter's device: ``[out, in]`` for linear
        layers, also for transformers' ``Conv1D``, which stores the transpose; of the weight's shape for all others.

    Raises:
        ValueError: the adapter does not fit ``base``, or ``base`` carries an adapter already, or the method adds nothing to
            weights that a merge could show.
    """
    replica = copy.deepcopy(base)
    before = {id(new): old for new, old in zip(replica.parameters(), base.parameters(), strict=True)}
    model = adapter.attach(replica)
    like = next(tensor for tensor in adapter.tensors.values() if tensor.is_floating_point())
    updates = {}
    for name, layer in find_adapter_layers(model).items():
        try:
            merged = copy.deepcopy(layer).double()
            merged.merge()  # type: ignore[operator]
            after, own = _weight(merged), before[id(_weight(layer))]
        except (AttributeError, KeyError, NotImplementedError, TypeError) as error:
            raise ValueError(
                f"the {adapter.config.get('peft_type')} adapter on {name.removeprefix(PREFIX)} has no update ΔW: PEFT cannot "
                f"merge it into one weight of the base ({type(error).__name__}: {error})."
            ) from error
        change = (after - own.double()).detach()
        stored_transposed = type(layer.get_base_layer()).__name__ == "Conv1D"  # type: ignore[operator]
        update = change.T if stored_transposed else change
        updates[name.removeprefix(PREFIX)] = update.to(like.device, torch.promote_types(like.dtype, torch.float32))
    return updates


def _weight(layer: nn.Module) -> nn.Parameter:
    """The parameter that a PEFT layer adapts."""
    return getattr(layer.get_base_layer(), getattr(layer, "parameter_name", "weight"))  # type: ignore[operator]
