"""An update of any method as a LoRA of full rank, which every way of scoring and drawing LoRA takes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.names import PREFIX, lora_keys

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def changed_beyond(update: Mapping[str, Tensor], adapter: Adapter, base: PreTrainedModel) -> list[str]:
    """What a merged adapter changes in ``base``, which stays as it is, beyond the weights in its ``update``.

    Returns:
        The base's own names of these parameters, such as biases.
    """
    merged = adapter.attach(copy.deepcopy(base)).merge_and_unload().state_dict()
    weights, before = {f"{name}.weight" for name in update}, base.state_dict()
    return [
        name
        for name, tensor in merged.items()
        if name not in weights and not (name in before and torch.equal(tensor, before[name]))
    ]


def lora_of_update(
    update: Mapping[str, Float[Tensor, "out in"]], base: str | None = None, *, transposed: bool = False
) -> Adapter:
    """A plain LoRA whose updates are exactly these: ΔW = B A with B = ΔW and A = 1, so the rank is the number of inputs.

    Args:
        update: module -> ΔW, as `Adapter.update` gives it, of linear layers.
        base: identity of the base model.
        transposed: whether the base stores the weights ``[in, out]``, as transformers' ``Conv1D`` does.

    Raises:
        ValueError: there are no updates, or one is no matrix.
    """
    from peft import LoraConfig

    if no_matrix := [name for name, change in update.items() if change.dim() != 2]:
        raise ValueError(f"update has {no_matrix[:2]}, which are no matrices: only updates of linear layers become a LoRA.")
    rank = max((change.shape[1] for change in update.values()), default=0)
    tensors = {}
    for name, change in update.items():
        a, b = lora_keys(PREFIX + name)
        inputs = change.shape[1]  # layers with fewer inputs are filled up with zeros, for one rank throughout
        tensors[a] = torch.eye(rank, inputs, dtype=change.dtype, device=change.device)
        tensors[b] = torch.nn.functional.pad(change, (0, rank - inputs))
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=sorted(update), inference_mode=True) if update else None
    values = json_values(config.to_dict()) if config else {}
    return Adapter(values | {"fan_in_fan_out": transposed}, tensors, base)
