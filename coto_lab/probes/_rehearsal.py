"""A rehearsal of a training: real batches and real steps, on a model of the same shapes with random weights, or a part of it.

What a step costs does not depend on the values of the weights, so none need be downloaded. And the blocks of a transformer are
alike: what two sizes cost tells what any size costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from coto_lab.adapters.blocks import blocks_of
from coto_lab.ground.device import default_device
from coto_lab.ground.randomness import OwnRandomNumbers
from coto_lab.tasks.part import Part
from coto_lab.tasks.task import Batch, skeleton_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Rehearsal(Part):
    """A task of the same examples, whose base model has random weights where the task has a ``skeleton``.

    Attributes:
        task, step: as in `Part`.
        blocks: how many blocks the base keeps; None keeps all.
        places: the training examples of every batch, ``[n]``, instead of those that are asked for; None while empty.
    """

    blocks: int | None = None
    places: list[Tensor] = field(default_factory=list)

    def load_base(self) -> PreTrainedModel:
        """The shortened base with random weights; the task's own base where it has no ``skeleton``."""
        skeleton = skeleton_of(self.task)
        if skeleton is None:
            return self.task.load_base()
        model = skeleton()
        if self.blocks is not None:
            shorten(model, self.target_modules, self.blocks)
        return with_random_weights(model)

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """The examples at ``places`` of the training split, if any are set; else as the task does."""
        return super().batch(split, self.places[0] if self.places and split == "train" else indices)


def stack_of(model: nn.Module, target_modules: Sequence[str]) -> nn.ModuleList | None:
    """The one list that holds all blocks of a model and nothing else; None where they are in several lists, or in none.

    Args:
        model: a base model without adapters.
        target_modules: the ends of the names of the layers that get an adapter, as in `Task`.
    """
    ends = tuple(target_modules)
    layers = [name for name, _ in model.named_modules() if any(name == end or name.endswith(f".{end}") for end in ends)]
    blocks = {block for block in blocks_of(model, layers).values() if block is not None}
    holders = {block.rpartition(".")[0] for block in blocks}
    if len(holders) != 1:
        return None
    stack = model.get_submodule(holders.pop())
    return stack if isinstance(stack, nn.ModuleList) and len(stack) == len(blocks) else None


def shorten(model: nn.Module, target_modules: Sequence[str], blocks: int) -> None:
    """Keep the first ``blocks`` blocks of a model.

    Raises:
        ValueError: its blocks are not in one list.
    """
    stack = stack_of(model, target_modules)
    if stack is None:
        raise ValueError(f"blocks={blocks}: the blocks of {type(model).__name__} are not in one list, so keep all: None.")
    del stack[blocks:]


def with_random_weights(model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """A model from the meta device, filled with the weights with which its training would begin, on the device.

    Args:
        model: what a ``skeleton`` returns; it is changed and returned.
        seed: decides the weights; the global random numbers are left untouched.
    """
    device = default_device()
    model.to_empty(device=device)
    with torch.no_grad(), OwnRandomNumbers(seed, device).active():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
            tensor._is_hf_initialized = False
        for module in model.modules():
            module._is_hf_initialized = False
        model.init_weights()
    return model
