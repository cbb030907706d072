"""The ways to choose gates: masks, names and indices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

Which = Tensor | int | str | Iterable[int] | Iterable[str]


def check_mask(mask: Bool[Tensor, " {n_gates}"], n_gates: int) -> Bool[Tensor, " {n_gates}"]:
    """Return ``mask`` if it is a ``BoolTensor [n_gates]``; raise ValueError otherwise."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != (n_gates,):
        found = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask must be a BoolTensor [{n_gates}], one entry per gate, True = open; got {found}.")
    return mask


def indices(which: Which, names: Sequence[str]) -> list[int]:
    """Indices of the gates in ``which``: a mask, an index, a name, or several of those; ValueError for anything else."""
    if isinstance(which, Tensor) and which.dtype == torch.bool:
        return check_mask(which, len(names)).nonzero().flatten().tolist()
    items: Any = which.tolist() if isinstance(which, Tensor) else which
    several = isinstance(items, Iterable) and not isinstance(items, str)
    return [_index(item, names) for item in (items if several else [items])]


def _index(item: Any, names: Sequence[str]) -> int:
    item = item.tolist() if isinstance(item, Tensor) else item
    if isinstance(item, str) and item in names:
        return names.index(item)
    if isinstance(item, Integral) and not isinstance(item, bool) and -len(names) <= int(item) < len(names):
        return int(item) % len(names)
    raise ValueError(
        f"which: {item!r} is no gate of this model; use a name ({names[0]!r} ... {names[-1]!r}), an index "
        f"from 0 to {len(names) - 1}, or a BoolTensor [{len(names)}]."
    )
