"""LoRA+: LoRA whose factors B learn faster than its factors A."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from coto_lab.adapters.methods.lora import LoRA
from coto_lab.ground.numbers import real_number

_FACTOR_B = re.compile(r"\.lora_(embedding_)?B\b")


@dataclass(frozen=True)
class LoRAPlus(LoRA):
    """LoRA with two learning rates: that of the `Recipe` for A, and ``ratio`` times it for B.

    Its adapters are LoRA's: only the training differs.

    Attributes:
        ratio: the rate of B over that of A; the paper recommends 16.

    Source: Hayou et al. 2024 (arXiv:2402.12354), section 4; the groups mirror PEFT's ``create_loraplus_optimizer``. (There,
    biases of new layers learn at the rate of B, too; here, new layers learn at the rate of A.)
    """

    name: ClassVar[str] = "lora-plus"
    ratio: float = 16.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", real_number("ratio", self.ratio))
        if not 0 < self.ratio < float("inf"):
            raise ValueError(f"ratio={self.ratio!r}: must be a finite number above 0.")

    def optimizer(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        return super().optimizer([part for group in groups for part in self._apart(group)])

    def _apart(self, group: dict[str, Any]) -> list[dict[str, Any]]:
        """The factors B of a group, and all else, each as a group of its own."""
        pairs = list(zip(group["names"], group["params"], strict=True))
        parts = []
        for is_b, ratio in ((False, 1.0), (True, self.ratio)):
            chosen = [(name, parameter) for name, parameter in pairs if bool(_FACTOR_B.search(name)) == is_b]
            names, parameters = ([pair[i] for pair in chosen] for i in (0, 1))
            parts.append(group | {"names": names, "params": parameters, "lr": group["lr"] * ratio, "lr_ratio": ratio})
        return [part for part in parts if part["params"]]
