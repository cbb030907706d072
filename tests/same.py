"""Whether two adapters are bitwise the same."""

from __future__ import annotations

import torch

from coto_lab import Adapter


def same(a: Adapter, b: Adapter) -> bool:
    return a.tensors.keys() == b.tensors.keys() and all(torch.equal(a.tensors[key], b.tensors[key]) for key in a.tensors)
