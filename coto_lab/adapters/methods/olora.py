"""OLoRA: LoRA that starts from orthonormal columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from coto_lab.adapters.methods.pissa import PiSSA


@dataclass(frozen=True)
class OLoRA(PiSSA):
    """As `PiSSA`, but B₀ and A₀ are the first r columns and rows of the QR decomposition W = Q R.

    Source: Büyükakyüz 2024 (arXiv:2406.01775); PEFT's implementation.
    """

    name: ClassVar[str] = "olora"
    start: ClassVar[str] = "olora"
