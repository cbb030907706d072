"""LoRA: a low-rank update of the frozen weight, ΔW = s·BA."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from coto_lab.adapters.configuration import function_of
from coto_lab.adapters.methods.method import Factors, Method, State
from coto_lab.adapters.names import PREFIX, lora_keys, module_of

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel

# Of a configuration: what every plain LoRA chooses. `fan_in_fan_out` says that the base stores its weights transposed, as
# transformers' Conv1D does; the factors are the same.
_CHOICES = {"peft_type", "r", "lora_alpha", "use_rslora", "fan_in_fan_out"}


@dataclass(frozen=True)
class LoRA(Method):
    """y = W x + s·B A x with s = alpha / r; the factors A and B are trained.

    Source: Hu et al. 2021 (arXiv:2106.09685); PEFT's implementation.
    """

    name: ClassVar[str] = "lora"
    trains_in_rows: ClassVar[bool] = True
    takes_dropout: ClassVar[bool] = True

    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> LoraConfig:
        from peft import LoraConfig

        return LoraConfig(r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets))  # alpha: PEFT says int

    def recognises(self, config: dict[str, Any]) -> bool:
        own = type(self) is LoRA  # a method that inherits from this one trains otherwise, and its adapters count as LoRA's
        return own and config.get("peft_type") == "LORA" and not config.get("use_rslora") and not beyond_lora(config)

    def scaling(self, r: int, alpha: float) -> float:
        return alpha / r

    def factors(self, adapter: State) -> Factors | None:
        if more_than_a_product(adapter):
            return None
        scale = scaling_of(adapter.config)
        pairs = {name: lora_keys(name) for name in _modules(adapter)}
        return {name: (adapter.tensors[a], adapter.tensors[b] * scale) for name, (a, b) in pairs.items()}

    def update(self, adapter: State, base: PreTrainedModel) -> dict[str, Tensor]:
        factors = self.factors(adapter)
        if factors is None or any(a.dim() != 2 for a, _ in factors.values()):  # several ranks; convolutions
            return super().update(adapter, base)
        return {name.removeprefix(PREFIX): _product(b, a) for name, (a, b) in factors.items()}


def more_than_a_product(adapter: State) -> str:
    """A sentence that says why the updates of an adapter are not s·BA of one rank throughout; empty, where they are."""
    kind, rank, patterns = (adapter.config.get(key) for key in ("peft_type", "r", "rank_pattern"))
    more = beyond_lora(adapter.config) | ({"rank_pattern": patterns} if patterns else {})
    pairs = {name: lora_keys(name) for name in _modules(adapter)}
    expected = {key for keys in pairs.values() for key in keys}
    if kind != "LORA" or more or expected != adapter.tensors.keys():
        others = sorted(adapter.tensors.keys() - expected)[:2]
        what = ", ".join([*(f"{key}={value}" for key, value in more.items()), *others])
        return (
            "the updates of this adapter must be s·BA alone, all of one rank, but this is "
            f"{kind}{' with ' + what if what else ''}."
        )
    if mismatched := [name for name, (a, _) in pairs.items() if len(adapter.tensors[a]) != rank]:
        return f"the configuration says rank r={rank}, but {mismatched[0]} has another."
    return ""


def scaling_of(config: dict[str, Any]) -> float:
    """The scale s of a plain LoRA: alpha / r, or alpha / √r for rank-stabilised LoRA (arXiv:2312.03732)."""
    rank: int = config["r"]
    return float(config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank))


def beyond_lora(config: dict[str, Any]) -> dict[str, Any]:
    """The fields of a PEFT configuration that make it compute something else than a LoRA of some rank and scale."""
    usual = _usual()
    return {k: v for k, v in function_of(config).items() if k not in _CHOICES and usual.get(k) != v}


@cache
def _usual() -> dict[str, Any]:
    from peft import LoraConfig

    return function_of(LoraConfig().to_dict())


def _modules(adapter: State) -> list[str]:
    return sorted({module_of(key, "lora_") for key in adapter.tensors})


def _product(b: Tensor, a: Tensor) -> Tensor:
    dtype = torch.promote_types(a.dtype, torch.float32)  # a product in half precision would be rounded twice
    return b.to(dtype) @ a.to(dtype)
