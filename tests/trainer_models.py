"""Tiny models, data and trainers for the tests in `trainers`: `transformers.Trainer` and those of TRL that subclass it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peft
import tiny_models as tiny
import tokenizers
import torch
import transformers
import trl
from datasets import Dataset
from torch import nn
from trained_weights import weights

BLOCKS, BATCH = 3, 2
WORDS = [f"w{i}" for i in range(28)]


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """One token for each word; the ids fit the vocabulary of the tiny Llama."""
    names = ["<pad>", "<eos>", "<unk>", *WORDS]
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )


def adapted(dropout: float = 0.0) -> peft.PeftModel:
    """A tiny Llama with an adapter that is not at its start, so that open differs from closed."""
    config = tiny.config_of("LoRA", lora_dropout=dropout)
    return tiny.randomise(peft.get_peft_model(tiny.llama(layers=BLOCKS), config))


def text(row: int, length: int) -> str:
    return " ".join(WORDS[(row * 5 + i * i) % len(WORDS)] for i in range(length))


def tokens(n: int) -> Dataset:
    rows = [tokenizer()(text(i, 6))["input_ids"] for i in range(n)]
    return Dataset.from_dict({"input_ids": rows, "labels": rows})


def texts(n: int) -> Dataset:
    return Dataset.from_dict({"text": [text(i, 4 + i % 3) for i in range(n)]})


def preferences(n: int) -> Dataset:
    return Dataset.from_dict(
        {"prompt": [text(i, 3) for i in range(n)]}
        | {key: [" " + text(i + k, 2 + i % 2) for i in range(n)] for k, key in ((1, "chosen"), (9, "rejected"))}
    )


def judged(n: int) -> Dataset:
    return Dataset.from_dict(
        {
            "prompt": [text(i, 3) for i in range(n)],
            "completion": [" " + text(i + 1, 2 + i % 2) for i in range(n)],
            "label": [i % 2 == 0 for i in range(n)],
        }
    )


def prompts(n: int) -> Dataset:
    return Dataset.from_dict({"prompt": [text(i, 3) for i in range(n)]})


def reward(completions: list[str], **_: Any) -> list[float]:
    return [float(sum(map(len, completion.split()))) for completion in completions]


@dataclass(frozen=True)
class Kind:
    """A trainer: its classes, a function that makes n rows of its data, and what its arguments and the trainer need besides."""

    trainer: type[transformers.Trainer]
    arguments: type[transformers.TrainingArguments]
    data: Callable[[int], Dataset]
    settings: dict[str, Any] = field(default_factory=dict)
    needs: dict[str, Any] = field(default_factory=dict)


TOKENIZER = {"processing_class": tokenizer()}
TRAINER = Kind(transformers.Trainer, transformers.TrainingArguments, tokens)
SFT = Kind(trl.SFTTrainer, trl.SFTConfig, texts, needs=TOKENIZER)
DPO = Kind(trl.DPOTrainer, trl.DPOConfig, preferences, needs=TOKENIZER)
KTO = Kind(trl.KTOTrainer, trl.KTOConfig, judged, needs=TOKENIZER)
GRPO = Kind(
    trl.GRPOTrainer,
    trl.GRPOConfig,
    prompts,
    {"num_generations": 2, "max_completion_length": 4, "beta": 0.1},
    {"reward_funcs": reward, **TOKENIZER},
)


def make(
    kind: Kind,
    folder: Path,
    *callbacks: transformers.TrainerCallback,
    model: nn.Module | None = None,
    rows: int | Dataset = 10,
    needs: dict[str, Any] | None = None,
    **settings: Any,
) -> transformers.Trainer:
    """A trainer of `kind` in float32 and without checkpointing, with batches of two rows; ``settings`` change its arguments."""
    batches = {"per_device_train_batch_size": BATCH, "per_device_eval_batch_size": BATCH}
    defaults = {"max_steps": 4, "learning_rate": 0.01, **batches}
    plain = {"bf16": False, "gradient_checkpointing": False, "use_cpu": True}
    quiet = {"save_strategy": "no", "logging_strategy": "no", "report_to": [], "disable_tqdm": True}
    args = kind.arguments(str(folder), **{**defaults, **plain, **quiet, **kind.settings, **settings})
    data = {"train_dataset": kind.data(rows) if isinstance(rows, int) else rows, "eval_dataset": kind.data(4)}
    if model is None and "model_init" not in (needs or {}):
        model = adapted(dropout=0.3)
    return kind.trainer(model=model, args=args, callbacks=list(callbacks), **{**data, **kind.needs, **(needs or {})})


@dataclass
class Pass:
    """A forward pass: the mode of the model, whether it had gradients, and the blocks whose adapter ran in it."""

    training: bool
    gradients: bool
    ran: set[int]

    @property
    def mask(self) -> list[bool]:
        return [block in self.ran for block in range(BLOCKS)]


class Watch:
    """The forward passes of a model."""

    def __init__(self, model: nn.Module):
        self.passes: list[Pass] = []
        base = model.get_base_model()
        base.register_forward_pre_hook(self._begin)
        for block, layer in enumerate(base.model.layers):
            for name, module in layer.named_modules():
                if name.endswith("lora_A.default"):
                    module.register_forward_hook(lambda *_, block=block: self.passes[-1].ran.add(block))

    def _begin(self, base: nn.Module, _: Any) -> None:
        self.passes.append(Pass(base.training, torch.is_grad_enabled(), set()))

    def trained(self) -> list[list[bool]]:
        """The blocks whose adapter ran, in each pass that trains, as masks."""
        return [each.mask for each in self.passes if each.training and each.gradients]


class Moves(transformers.TrainerCallback):
    """The blocks whose adapter moved, step by step."""

    def __init__(self) -> None:
        self.moved: list[list[bool]] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.before = weights(model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        now = weights(model)
        changed = [name for name in now if not torch.equal(now[name], self.before[name])]
        self.moved.append([any(f".layers.{block}." in name for name in changed) for block in range(BLOCKS)])
