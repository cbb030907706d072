"""PiSSA: LoRA that starts from the largest singular values of the weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from coto_lab.adapters.methods.lora import LoRA, beyond_lora
from coto_lab.adapters.methods.method import AnyState
from coto_lab.adapters.names import lora_keys, module_of

if TYPE_CHECKING:
    from peft import LoraConfig


@dataclass(frozen=True)
class PiSSA(LoRA):
    """y = (W - s·B₀ A₀) x + s·B A x, where B₀ A₀ is the best approximation of W / s of rank r, and A and B start from it.

    In training a dropped block computes (W - s·B₀ A₀) x, which is not the pre-trained block. The finished adapter is a plain
    LoRA of rank 2r on the unchanged base, ΔW = s·(B A - B₀ A₀), so that a block without it is the pre-trained one again.

    Source: Meng et al. 2024 (arXiv:2404.02948); PEFT's implementation and its conversion to LoRA.
    """

    name: ClassVar[str] = "pissa"
    rewrites_base: ClassVar[bool] = True
    start: ClassVar[str] = "pissa"
    """PEFT's ``init_lora_weights``."""

    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> LoraConfig:
        config = super().peft_config(r=r, alpha=alpha, dropout=dropout, targets=targets)
        config.init_lora_weights = self.start
        return config

    def recognises(self, config: dict[str, Any]) -> bool:
        return config.get("peft_type") == "LORA" and beyond_lora(config) == {"init_lora_weights": self.start}

    def misfit(self, layer: nn.Module, r: int) -> str:
        if type(layer) is not nn.Linear:
            return f"{self.name} starts from a decomposition of the weight of an nn.Linear, and this is none"
        if layer.weight.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            return f"PEFT decomposes weights in float32, float16 or bfloat16, and this one is in {layer.weight.dtype}"
        least = min(layer.weight.shape)
        return "" if r <= least else f"a decomposition of its weight has {least} components, and r={r} are wanted"

    def finished(self, adapter: AnyState, start: AnyState) -> AnyState:
        tensors = dict(adapter.tensors)
        for name in sorted({module_of(key, "lora_") for key in tensors if ".lora_A" in key}):
            a, b = lora_keys(name)
            tensors[a] = torch.cat([tensors[a], start.tensors[a]])  # [2r, in]
            tensors[b] = torch.cat([tensors[b], -start.tensors[b]], 1)  # [out, 2r]
        config = adapter.config
        rank = {"r": 2 * config["r"], "lora_alpha": 2 * config["lora_alpha"]}  # the same scale
        return replace(adapter, config=config | rank | {"init_lora_weights": True}, tensors=tensors)  # type: ignore[type-var]
