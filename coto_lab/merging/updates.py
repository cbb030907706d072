"""The updates of several adapters, side by side, and the other way: a LoRA from factors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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

Factors = tuple[Float[Tensor, "_ inputs ..."], Float[Tensor, "outputs _ ..."]]
"""Of one module: A ``[r, in]`` and B ``[out, r]`` of its update ΔW = B A; those of convolutions have kernel sizes, too."""


def check_nothing_whole(adapters: Sequence[Adapter]) -> None:
    """ValueError for adapters with modules that were trained whole: they are no updates."""
    if whole := [name for adapter in adapters for name in adapter.apart()[1]]:
        raise ValueError(
            f"this rule mixes updates ΔW, and {whole[0]} is no update: it was trained whole (modules_to_save). Use how='fuse'."
        )


def factors_of(adapters: Sequence[Adapter]) -> dict[str, list[Factors]]:
    """The factors of every module, one pair for each adapter, the scale in B; names are as in `Adapter.factors`.

    Raises:
        ValueError: an adapter's updates are no products s·BA, or of other shapes than those of the first; it holds modules that
            were trained whole.
    """
    check_nothing_whole(adapters)
    parts = []
    for i, adapter in enumerate(adapters):
        try:
            parts.append(adapter.factors())
        except ValueError as error:
            raise ValueError(f"adapter {i}: {error} Rules on the factors of LoRA take no other adapters.") from error
    for name in parts[0]:
        check_shapes(name, [part[name] for part in parts])
        check_linear(name, parts[0][name])
    return {name: [part[name] for part in parts] for name in parts[0]}


def updates_of(
    adapters: Sequence[Adapter], base: PreTrainedModel | None = None
) -> Iterator[tuple[str, Float[Tensor, "n out in"]]]:
    """The base's own name of each adapted module, and its updates ΔW by all n adapters: one module after the other, since the
    updates of a large model need much memory.

    Args:
        adapters: on the same modules.
        base: the base model, for adapters whose updates are no products s·BA; it is not changed.

    Raises:
        ValueError: adapters whose updates are no products s·BA, without ``base``; adapters that change more than the weights
            of linear layers; updates of one module that differ in shape.
    """
    check_nothing_whole(adapters)
    parts = [_parts(adapter, i, base) for i, adapter in enumerate(adapters)]
    for name in parts[0]:
        check_shapes(name, own := [part[name] for part in parts])
        check_linear(name, own[0])
        yield name, torch.stack([factors[1] @ factors[0] if len(factors) == 2 else factors[0] for factors in own])


def _parts(adapter: Adapter, i: int, base: PreTrainedModel | None) -> dict[str, tuple[Tensor, ...]]:
    """The base's own name of each adapted module -> A and B, or ΔW alone where it is no product."""
    try:
        return {name.removeprefix(PREFIX): own for name, own in adapter.factors().items()}
    except ValueError as error:
        if base is None:
            raise ValueError(
                f"this rule mixes the updates ΔW: {error} Use how='fuse', or give base=task.load_base() to mix ΔW itself."
            ) from error
        update = adapter.update(base)
        if more := changed_beyond(update, adapter, base):
            raise ValueError(
                f"this rule mixes the updates ΔW, but adapter {i} ({adapter.config.get('peft_type')}) changes {more[0]}, "
                "too. Use how='fuse'."
            ) from error
        return {name: (change,) for name, change in update.items()}


def check_linear(name: str, factors: Sequence[Tensor]) -> None:
    """ValueError unless a module's factors, or its update, are matrices."""
    if factors[0].dim() != 2:
        raise ValueError(
            f"{name.removeprefix(PREFIX)} is a convolution, and this rule mixes linear layers alone. Use how='ensemble'."
        )


def check_shapes(name: str, parts: Sequence[Sequence[Tensor]]) -> None:
    """ValueError unless the updates of a module, given as A and B or as ΔW alone, are all of one shape."""
    shapes = [[len(factors[-1]), *factors[0].shape[1:]] for factors in parts]
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(
                f"the update of {name.removeprefix(PREFIX)} is {shapes[0]} in adapter 0 and {shape} in adapter {i}: their base "
                "models differ. Merge adapters that were trained on the same base model."
            )


def is_transposed(adapters: Sequence[Adapter], modules: Iterable[str], base: PreTrainedModel | None) -> bool:
    """Whether the base stores the weights of the modules ``[in, out]``, as the adapters' configurations say, or the base."""
    if base is not None:
        return any(type(base.get_submodule(name)).__name__ == "Conv1D" for name in modules)
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
