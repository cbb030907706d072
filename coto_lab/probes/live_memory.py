"""How much memory a call needs at its peak, in bytes of tensors."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from coto_lab.ground.device import default_device


def peak_bytes(call: Callable[[], object]) -> int:
    """The most bytes of tensors that were alive at once during a call, beyond those that were there before it.

    On CUDA it is what PyTorch's allocator counts. Elsewhere every operation's results are counted until they are freed; what an
    operation needs within itself is not.
    """
    if default_device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with _LiveBytes() as counted:
        call()
    return counted.peak


class _LiveBytes(TorchDispatchMode):
    """Counts each storage once, from the operation that makes it until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._counted: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_address(item) for item in tree_iter((args, kwargs)) if isinstance(item, Tensor)}  # views are of these
        results = func(*args, **(kwargs or {}))
        for item in tree_iter(results):
            if not isinstance(item, Tensor) or (address := _address(item)) in given or address in self._counted:
                continue
            storage = item.untyped_storage()
            self._counted[address] = storage.nbytes()
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._free, address).atexit = False
        return results

    def _free(self, address: int) -> None:
        self.live -= self._counted.pop(address)


def _address(tensor: Tensor) -> int:
    address: int = tensor.untyped_storage()._cdata
    return address
