"""In a patch: ``LoraModel.set_coto_step``, called once per step, as ``AdaLoraModel.update_and_allocate`` is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np
from peft.tuners.lora.layer import Linear, LoraLayer
from torch import nn

from .config import CotoConfig
from .variant import CotoLinearVariant

PLAIN = (type(None), CotoLinearVariant)  # the entries of ``lora_variant`` that CoTo may replace


def open_blocks(n_blocks: int, p: float, seed: int, step: int) -> list[bool]:
    """Which blocks take part in ``step``: Bernoulli(p) draws under the condition that at least one does, without redrawing.

    A pure function: no state to store or to broadcast, and the global random number generator is not used.
    """
    uniform = np.random.Generator(np.random.Philox(key=seed, counter=[0, step, 0, 0])).random(n_blocks).tolist()
    opened = [u < p for u in uniform]
    if p < 1:
        for i, left in enumerate(range(n_blocks, 0, -1)):  # while none is open: p over the probability that one of the rest is
            if left == 1 or uniform[i] < (p / -math.expm1(left * math.log1p(-p)) if p > 0 else 1 / left):
                opened[i] = True
                break
    return opened


class CotoBlocks:
    """The blocks of ``model`` that drop the adapter ``adapter_name`` in training; outside of blocks it always takes part.

    A block is an entry of the outermost ``nn.ModuleList`` around an adapter layer. The layers become `CotoLinearVariant` here;
    in a patch, ``LoraLayer.update_layer`` would do this.

    Attributes:
        layers: the adapter layers of each block, by the block's name.
    """

    def __init__(self, model: nn.Module, config: CotoConfig, adapter_name: str = "default"):
        self.config, self.adapter_name = config, adapter_name
        self.layers: dict[str, list[LoraLayer]] = {}
        for name, layer in model.named_modules():
            if isinstance(layer, LoraLayer) and adapter_name in layer.r and (block := _block_of(model, name)):
                if not isinstance(layer, Linear) or not isinstance(layer.lora_variant.get(adapter_name), PLAIN):
                    raise ValueError(f"CoTo drops plain LoRA on linear layers only; {name!r} is another layer or variant.")
                self.layers.setdefault(block, []).append(layer)
        if len(self.layers) < 2:
            raise ValueError(f"CoTo needs adapter {adapter_name!r} on at least 2 blocks, found {list(self.layers)}.")
        for layer in chain.from_iterable(self.layers.values()):
            layer.lora_variant[adapter_name] = CotoLinearVariant()
            CotoLinearVariant.init(layer, adapter_name)

    def set_step(self, step: int) -> None:
        """Draw the blocks that take part in the 0-based optimiser ``step``; call it before the step's first forward pass."""
        self.open(open_blocks(len(self.layers), self.config.probability(step), self.config.seed, step))

    def open(self, opened: Sequence[bool]) -> None:
        """Have exactly these blocks take part in training; one value per block."""
        for layers, is_open in zip(self.layers.values(), opened, strict=True):
            for layer in layers:
                layer.coto_dropped[self.adapter_name] = not is_open
                if not is_open:  # a zero gradient would let weight decay and old momentum move the adapter
                    layer.lora_A[self.adapter_name].zero_grad(set_to_none=True)
                    layer.lora_B[self.adapter_name].zero_grad(set_to_none=True)


def _block_of(model: nn.Module, name: str) -> str | None:
    parts = name.split(".")
    ends = (i for i in range(1, len(parts)) if isinstance(model.get_submodule(".".join(parts[:i])), nn.ModuleList))
    return ".".join(parts[: end + 1]) if (end := next(ends, None)) else None
