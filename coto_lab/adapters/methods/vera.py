"""VeRA: two random matrices that all layers share, and two trained vectors for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from coto_lab.adapters.methods.method import Method

if TYPE_CHECKING:
    from peft import VeraConfig


@dataclass(frozen=True)
class VeRA(Method):
    """y = W x + diag(b) B diag(d) A x; A and B are drawn once and stay, and the vectors b and d are trained. There is no scale:
    ``alpha`` is not used. A rank costs one number per layer, so ranks are high, such as 256.

    A and B are as large as the largest adapted layer, and smaller layers take their first columns and rows. They are the same
    for every seed of a `Recipe`: PEFT draws them with a key of its own.

    Source: Kopiczko et al. 2023 (arXiv:2310.11454); PEFT's implementation.
    """

    name: ClassVar[str] = "vera"
    takes_dropout: ClassVar[bool] = True

    def peft_config(self, *, r: int, alpha: float, dropout: float, targets: Sequence[str]) -> VeraConfig:
        from peft import VeraConfig

        return VeraConfig(r=r, vera_dropout=dropout, target_modules=list(targets))

    def recognises(self, config: dict[str, Any]) -> bool:
        return config.get("peft_type") == "VERA"
