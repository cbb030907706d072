"""Fusion: the factors are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.configuration import function_of
from coto_lab.adapters.names import DRAWN
from coto_lab.merging.rule import Rule

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Fuse(Rule):
    """A = Σ wᵢAᵢ and B = Σ wᵢBᵢ: every tensor is averaged, of any PEFT method.

    Fusion of two LoRAs gives ΔW = s·(w₁B₁ + w₂B₂)(w₁A₁ + w₂A₂): each one's own update s·BᵢAᵢ has the weight wᵢ², and
    cross terms w₁w₂·s·(B₁A₂ + B₂A₁) appear. (PEFT's ``"linear"`` combination gives the factors the roots of the weights.)
    Fusion averages new layers that were trained whole, such as heads (``modules_to_save``), too: Σ wᵢWᵢ. So give weights that
    sum to 1, and adapters whose new layers began alike. What was drawn at random and not trained (the matrices of VeRA and
    RandLoRA) stays as it is.

    Source: arXiv:2506.05713, which calls it linear fusion; PEFT's ``add_weighted_adapter`` (``"linear"``).
    """

    def merged(self, adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
        first = adapters[0]
        for i, adapter in enumerate(adapters):
            check_alike(first, adapter, i)
            for name, tensor in adapter.tensors.items():
                if _is_fixed(name, tensor) and not torch.equal(tensor, first.tensors[name]):
                    raise ValueError(
                        f"{name}, which was drawn at random and not trained, differs between adapter 0 and adapter {i}, so "
                        "what was trained beside it does not mean the same in both. Use how='ensemble', with "
                        "base=task.load_base()."
                    )
        pairs = list(zip(adapters, weights, strict=True))
        return Adapter(
            first.config,
            {
                name: tensor if _is_fixed(name, tensor) else torch.stack([w * a.tensors[name] for a, w in pairs]).sum(0)
                for name, tensor in first.tensors.items()
            },
        )


def check_alike(first: Adapter, other: Adapter, i: int) -> None:
    """Whether the factors of two adapters act alike, so that an average of them means something.

    Args:
        first: adapter 0.
        other: adapter i, on the same modules.
        i: its number, for messages.

    Raises:
        ValueError: they differ in a setting or in a shape.
    """
    ours, theirs = function_of(first.config), function_of(other.config)
    for key in ours | theirs:
        if ours.get(key) != theirs.get(key):
            raise ValueError(
                f"fusion averages factors that act alike, but {key} is {first.config.get(key)} in adapter 0 and "
                f"{other.config.get(key)} in adapter {i}. Use how='ensemble' for LoRA of different ranks."
            )
    for name, tensor in other.tensors.items():
        if tensor.shape != first.tensors[name].shape:
            raise ValueError(
                f"{name} is {list(tensor.shape)} in adapter {i} and {list(first.tensors[name].shape)} in adapter 0."
            )


def _is_fixed(name: str, tensor: Tensor) -> bool:
    """Whether a tensor of an adapter is not trained: places in the weight matrix, and what was drawn at random."""
    return not tensor.is_floating_point() or name.endswith(DRAWN)
