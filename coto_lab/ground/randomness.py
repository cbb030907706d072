"""Random numbers of a training: explicit, its own, and without effect on anyone else's.

What must be the same on every rank and after a resume (gates, order of the data) is a pure function of the seed and a
position: a counter-based generator, Philox (Salmon et al. 2011), has the seed as its key and the position as its counter.
What torch draws inside a layer (initialisation, dropout) has a state, which is kept apart from the global one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def batch_indices(n: int, batch_size: int, seed: int, step: int) -> Tensor:
    """Which of n examples make the batch of ``step``: int64 ``[batch_size]``, a pure function of its arguments.

    The batches walk through one permutation after another, so every example is seen once in each n draws.
    """
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = positions // n
    orders = {epoch: _permutation(n, seed, int(epoch)) for epoch in np.unique(epochs)}
    return torch.from_numpy(np.array([orders[e][i] for e, i in zip(epochs, positions % n, strict=True)]))


@lru_cache(maxsize=32)  # as many seeds as train side by side
def _permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    # The last word of the counter keeps these numbers apart from the gates' (coto.draw_mask), which have 0 there.
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, epoch, 0, 1])).permutation(n)


class OwnRandomNumbers:
    """A torch random state that is in force only while it is used, for adapter initialisation and dropout.

    Attributes:
        state: the state of the CPU's generator and, where ``device`` is an accelerator, of its generator.
    """

    def __init__(self, seed: int, device: torch.device):
        devices = ["cpu"] if device.type == "cpu" else ["cpu", device.type]
        self._modules = [torch.random if kind == "cpu" else torch.get_device_module(kind) for kind in devices]
        self.state: list[Tensor] = [torch.Generator(kind).manual_seed(seed).get_state() for kind in devices]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within the block, torch draws from this state; afterwards from where it was before."""
        before = self._exchange(self.state)
        try:
            yield
        finally:
            self.state = self._exchange(before)

    def _exchange(self, new: list[Tensor]) -> list[Tensor]:
        if len(new) != len(self._modules):
            raise ValueError(f"{len(new)} random states for {len(self._modules)} generators; give one for each.")
        old = [module.get_rng_state() for module in self._modules]
        try:
            for module, state in zip(self._modules, new, strict=True):
                module.set_rng_state(state)
        except BaseException:  # torch refuses the state: none of the generators is left with another
            for module, state in zip(self._modules, old, strict=True):
                module.set_rng_state(state)
            raise
        return old
