"""The recipe of CLIP-LoRA, for few-shot tasks on CLIP."""

from __future__ import annotations

import math
from typing import Any

from coto_lab.ground.numbers import whole_number
from coto_lab.training.recipe import Recipe

_RANK = 2


def clip_lora(shots: int, **changes: Any) -> Recipe:
    """How CLIP-LoRA adapts CLIP from ``shots`` images of each class, to be trained on `FewShotCLIP`.

    Rank 2, dropout 0.25 on the adapter's input, AdamW with a weight decay of 0.01, 32 images in a step, 500 steps for each
    shot. Its scale is that of rank-stabilised LoRA, 1 / √r: a plain LoRA has it with alpha = √r.

    The learning rate falls from 2e-4 along half a cosine, as there, but to 0 and not to 1e-6, which is half a percent of it.
    CLIP-LoRA also crops and mirrors the images at random, which no task here does.

    Args:
        shots: images of each class.
        changes: other values of the `Recipe`, such as ``schedule=Linear()`` for CoTo.

    Raises:
        ValueError: ``shots`` below 1, or a value out of range.

    Source: Zanella and Ben Ayed 2024 (arXiv:2405.18541) and its code.
    """
    shots = whole_number("shots", shots, 1)
    values: dict[str, Any] = {
        "r": _RANK, "alpha": math.sqrt(_RANK), "dropout": 0.25, "steps": 500 * shots, "lr": 2e-4, "decay": "cosine",
        "batch_size": 32, "weight_decay": 1e-2,
    }  # fmt: skip
    return Recipe(**values | changes)
