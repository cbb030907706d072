"""In a patch: a file of its own, as ``peft/tuners/adamss/asa_callback.py`` is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .blocks import CotoBlocks
from .config import CotoConfig


class CotoCallback(TrainerCallback):
    """CoTo in a ``Trainer``, over the steps that it takes; between two steps, all blocks take part."""

    def __init__(self, config: CotoConfig, adapter_name: str = "default"):
        self.config, self.adapter_name = config, adapter_name

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: nn.Module, **kwargs: Any
    ) -> None:
        self.blocks = CotoBlocks(model, replace(self.config, total_steps=state.max_steps), self.adapter_name)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.blocks.set_step(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.blocks.open([True] * len(self.blocks.layers))
