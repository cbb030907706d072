"""What is scored: an adapter, and the gates that are open."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from coto_lab.adapters.adapter import Adapter


@dataclass(frozen=True, eq=False)
class Variant:
    """One thing to score.

    Attributes:
        adapter: the adapter state.
        mask: which gates are open, over the blocks (``BoolTensor [n_blocks]``) or over the adapted modules
            (``[n_modules]``); None opens all.
        name: what tables and figures call it.
    """

    adapter: Adapter
    mask: Tensor | None = None
    name: str = ""
