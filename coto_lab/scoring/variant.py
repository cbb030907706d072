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

    Raises:
        TypeError: ``adapter`` is no `Adapter`.
    """

    adapter: Adapter
    mask: Tensor | None = None
    name: str = ""

    def __post_init__(self) -> None:
        check_adapter(self.adapter)


def check_adapter(adapter: object) -> None:
    """TypeError unless ``adapter`` is an `Adapter`: a run has one, and a folder is read first."""
    if not isinstance(adapter, Adapter):
        raise TypeError(
            f"adapter is a {type(adapter).__name__}: give an Adapter, such as run.adapter of a Run, or Adapter.load(folder)."
        )
