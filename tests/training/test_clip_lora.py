"""The recipe of CLIP-LoRA; tests/tasks/hub/test_clip.py compares two of its steps with steps that are written out."""

from __future__ import annotations

import math

import pytest

from coto_lab import Linear
from coto_lab.training.clip_lora import clip_lora


def test_the_recipe() -> None:
    recipe = clip_lora(4, schedule=Linear())
    assert (recipe.steps, recipe.batch_size, recipe.dropout, recipe.weight_decay) == (2000, 32, 0.25, 0.01)
    assert recipe.schedule == Linear() and recipe.learning_rate(0) == 2e-4 and recipe.learning_rate(1999) < 1e-6
    config = recipe.peft_config(["q_proj"])
    assert config.lora_alpha / config.r == pytest.approx(1 / math.sqrt(2)) and config.lora_dropout == 0.25
    with pytest.raises(ValueError, match=r"shots=0: must be a whole number, at least 1\."):
        clip_lora(0)
