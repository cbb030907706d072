"""The updates of several adapters, side by side, and the other way: a LoRA from factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.names import PREFIX, lora_keys
from coto_lab.adapters.whole_update import changed_beyond

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Factors = tuple[Float[Tensor, "r in"], Float[Tensor, "out r"]]
"""Of one module: A and B of its update ΔW = B A."""


def check_nothing_whole(adapters: Sequence[Adapter]) -> None:
    """ValueError for adapters with modules that were trained whole: they are no updates."""
    if whole := [name for adapter in adapters for name in adapter.apart()[1]]:
        raise ValueError(
            f"this rule mixes updates ΔW, and {whole[0]} is no update: it was trained whole (modules_to_save). Use how='fuse'."
        )


def factors_of(adapters: Sequence[Adapter]) -> dict[str, list[Factors]]:
    """The factors of every module, one pair for each adapter, the scale in B; names are as in `Adapter.factors`.

    Raises:
        ValueError: an adapter's updates are no products s·BA; it holds modules that were trained whole.
    """
    check_nothing_whole(adapters)
    parts = []
    for i, adapter in enumerate(adapters):
        try:
            parts.append(adapter.factors())
        except ValueError as error:
            raise ValueError(f"adapter {i}: {error} Rules on the factors of LoRA take no other adapters.") from error
    return {name: [part[name] for part in parts] for name in parts[0]}


def updates_of(adapters: Sequence[Adapter], base: PreTrainedModel | None = None) -> dict[str, Float[Tensor, "n out in"]]:
    """The base's own name of each adapted module -> its updates ΔW by all n adapters.

    Args:
        adapters: on the same modules.
        base: the base model, for adapters whose updates are no products s·BA; it is not changed.

    Raises:
        ValueError: adapters whose updates are no products s·BA, without ``base``; adapters that change more than the weights
            of linear layers.
    """
    check_nothing_whole(adapters)
    updates = []
    for i, adapter in enumerate(adapters):
        try:
            updates.append({name.removeprefix(PREFIX): b @ a for name, (a, b) in adapter.factors().items()})
        except ValueError as error:
            if base is None:
                raise ValueError(
                    f"this rule mixes the updates ΔW: {error} Use how='fuse', or give base=task.load_base() to mix ΔW itself."
                ) from error
            updates.append(adapter.update(base))
            if more := changed_beyond(updates[-1], adapter, base):
                raise ValueError(
                    f"this rule mixes the updates ΔW, but adapter {i} ({adapter.config.get('peft_type')}) changes {more[0]}, "
                    "too. Use how='fuse'."
                ) from error
    return {name: torch.stack([update[name] for update in updates]) for name in updates[0]}


def is_transposed(adapters: Sequence[Adapter]) -> bool:
    """Whether the base stores its weights ``[in, out]``, as the adapters' configurations say."""
    return any(adapter.config.get("fan_in_fan_out") for adapter in adapters)


def lora_of_factors(factors: Mapping[str, Factors], like: Adapter) -> Adapter:
    """A plain LoRA with these updates and the scale 1, on the modules of another; ranks are filled up with zeros to one rank.

    Args:
        factors: module, named as in `Adapter.factors` -> A and B.
        like: has the configuration of everything but rank and scale.
    """
    rank = max(len(a) for a, _ in factors.values())
    tensors = {}
    for name, (a, b) in factors.items():
        key_a, key_b = lora_keys(name)
        tensors[key_a] = F.pad(a, (0, 0, 0, rank - len(a))).contiguous()
        tensors[key_b] = F.pad(b, (0, rank - len(a))).contiguous()
    return Adapter(like.config | {"r": rank, "lora_alpha": rank, "use_rslora": False}, tensors)
