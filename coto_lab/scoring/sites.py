"""The adapted modules of an adapter and their blocks, read from its tensors and the base; and masks over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.blocks import blocks_of


class Masked(Protocol):
    """What a mask may lie over: `Sites`, `Gates` by module, or the rows of a stack."""

    @property
    def blocks(self) -> tuple[str, ...]:
        """For each adapted module the block that it is on, or its own name."""

    def __len__(self) -> int:
        """How many modules there are."""


@dataclass(frozen=True)
class Sites:
    """Where an adapter acts.

    Attributes:
        names: of the adapted modules, in the model's order.
        blocks: the block of each (its own name, where it is on none).
    """

    names: tuple[str, ...]
    blocks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def block_names(self) -> tuple[str, ...]:
        """Every block once, in the model's order."""
        return tuple(dict.fromkeys(self.blocks))


def find_sites(base: nn.Module, adapter: Adapter) -> Sites:
    """Where ``adapter`` acts in ``base``; no adapter layer is built.

    Raises:
        ValueError: the adapter has tensors for modules that the base does not have, or for no modules at all.
    """
    adapted = set(adapter.modules)
    if not adapted:
        adapter.peft_config()  # says so if it is of a method that PEFT does not know
        raise ValueError(
            f"the adapter, {adapter.config.get('peft_type')}, has no tensors of its own for any layer of the model (prompt "
            "tuning trains virtual tokens, for instance), so it has no parts that could be left out one by one. Give an "
            "adapter of a method that adapts layers, such as LoRA."
        )
    modules = tuple(name for name, _ in base.named_modules() if name in adapted)
    if strange := sorted(adapted.difference(modules)):
        raise ValueError(
            f"the adapter does not fit the base model, which lacks {len(strange)} of the modules that it adapts, first "
            f"{strange[0]!r}. Use the base model that it was trained on."
        )
    blocks = blocks_of(base, modules)
    return Sites(modules, tuple(blocks[name] or name for name in modules))


def module_mask(sites: Masked, mask: Bool[Tensor, " gates"] | None, name: str = "mask") -> Bool[Tensor, " {len(sites)}"]:
    """A mask over modules, from one over modules or over blocks, or None for all open: ``BoolTensor [n_modules]``.

    Args:
        sites: the modules.
        mask: over the modules or the blocks.
        name: of the argument, for the message.

    Raises:
        ValueError: the mask has another type or length.
    """
    if mask is None:
        return torch.ones(len(sites), dtype=torch.bool)
    blocks = list(dict.fromkeys(sites.blocks))
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape not in ((len(sites),), (len(blocks),)):
        found = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"{name} must be a BoolTensor [{len(blocks)}] (blocks) or [{len(sites)}] (modules), got {found}.")
    if len(mask) == len(sites):
        return mask
    return mask[torch.tensor([blocks.index(block) for block in sites.blocks])]
