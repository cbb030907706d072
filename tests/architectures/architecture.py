"""What a right answer says of one architecture."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import peft
import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Architecture:
    """A tiny random model of one architecture, and its blocks as a reader of its source would name them.

    A block is the unit that repeats and that stochastic depth would leave out: one transformer layer, one residual block of
    a convolutional network. It is neither a stage, which holds blocks and a downsampling, nor a part of a layer.

    Attributes:
        name: what the table of architectures calls it.
        make: makes the model.
        targets: PEFT's ``target_modules``; they reach blocks, and projections and heads where there are such.
        blocks: names of the blocks, in the order of ``named_modules``.
        outside: names of the adapter layers that lie on no block, in the same order.
        towers: how many consecutive blocks each tower has, where there are several. A tower is a part that a batch can reach
            without the others, because the others have no input or their output is given.
        tower_of: instead of that, the tower of each block, where those of several are mixed.
        part_batches: name of a tower -> runs that tower alone and returns a tensor with a gradient.
    """

    name: str
    make: Callable[[], nn.Module]
    targets: str | tuple[str, ...]
    blocks: tuple[str, ...]
    outside: tuple[str, ...] = ()
    towers: tuple[int, ...] = ()
    tower_of: tuple[int, ...] = ()
    part_batches: Mapping[str, Callable[[nn.Module], Tensor]] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def adapted(self) -> peft.PeftModel:
        """The model with a LoRA on its targets. The global generator is left as it was."""
        targets = self.targets if isinstance(self.targets, str) else list(self.targets)
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch, transformers and PEFT say of how a model is made is not the point
            torch.manual_seed(0)
            return peft.get_peft_model(self.make(), peft.LoraConfig(r=2, target_modules=targets))

    @property
    def tower_of_block(self) -> list[int]:
        """The number of each block's tower."""
        if self.tower_of:
            return list(self.tower_of)
        return [tower for tower, size in enumerate(self.towers or (len(self.blocks),)) for _ in range(size)]


def numbered(prefix: str, n: int) -> tuple[str, ...]:
    """``prefix.0`` to ``prefix.n-1``."""
    return tuple(f"{prefix}.{i}" for i in range(n))


def within(prefix: str, *names: str) -> tuple[str, ...]:
    """``prefix.name`` for every name."""
    return tuple(f"{prefix}.{name}" for name in names)
