"""Tiny random models of the architectures that `coto_lab.attach_gates` is tried on, with their blocks named by hand."""

from __future__ import annotations

from architectures.architecture import Architecture
from architectures.by_hand import BY_HAND
from architectures.by_hand_vision import BY_HAND_VISION
from architectures.compvis import COMPVIS
from architectures.decoders import DECODERS
from architectures.diffusion import DIFFUSION
from architectures.encoders import ENCODERS
from architectures.multimodal import MULTIMODAL
from architectures.vision import VISION
from architectures.within_blocks import WITHIN_BLOCKS

ALL: tuple[Architecture, ...] = (
    *DECODERS, *ENCODERS, *VISION, *MULTIMODAL, *DIFFUSION, *BY_HAND, *BY_HAND_VISION, COMPVIS, *WITHIN_BLOCKS,
)  # fmt: skip
