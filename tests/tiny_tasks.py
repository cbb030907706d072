"""Tiny tasks over tiny models of several kinds, and plain LoRA adapters on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import peft
import torch
import transformers
from datasets import Dataset
from tiny_models import TARGETS, randomise
from torch import nn

from coto_lab import Adapter, Task


def seeded(load: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The same weights each time, so large that narrow layers do not make almost constants."""

    def load_base() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = load()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 2:
                    parameter.mul_(10)
        return model

    return load_base


def language_task(padded: bool = False, length: int = 7, **settings: object) -> Task:
    """Tokens to three classes, by a tiny Llama with four blocks."""

    def load() -> nn.Module:
        config = transformers.LlamaConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=2,
            vocab_size=32, max_position_embeddings=64, num_labels=3, pad_token_id=0, **settings,
        )  # fmt: skip
        return transformers.LlamaForSequenceClassification(config)

    tokens = torch.randint(1, 32, (12, length), generator=torch.Generator().manual_seed(1))
    columns = {"input_ids": tokens, "labels": torch.arange(12) % 3}
    if padded:
        columns["attention_mask"] = (torch.arange(length) < length - torch.arange(12)[:, None] % 4).long()
        tokens *= columns["attention_mask"]
    data = Dataset.from_dict({name: column.numpy() for name, column in columns.items()}).with_format("torch")
    return Task("tokens", "tiny llama", seeded(load), data, data, ("a", "b", "c"), tuple(TARGETS))


def gpt2_task() -> Task:
    """Its layers are ``Conv1D``."""

    def load() -> nn.Module:
        config = transformers.GPT2Config(
            n_embd=16, n_layer=2, n_head=2, n_positions=16, vocab_size=32, num_labels=3,
            pad_token_id=0, bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        return transformers.GPT2ForSequenceClassification(config)

    return replace(language_task(), load_base=seeded(load), target_modules=("c_attn", "c_fc"))


def swin_task(depths: tuple[int, ...]) -> Task:
    """Its blocks are called with more than a hidden state, and stand in one stack for each stage."""

    def load() -> nn.Module:
        config = transformers.SwinConfig(
            image_size=8, patch_size=2, num_channels=1, embed_dim=8, depths=depths, num_heads=[2] * len(depths),
            window_size=2, num_labels=3,
        )  # fmt: skip
        return transformers.SwinForImageClassification(config)

    images = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    data = Dataset.from_dict({"pixel_values": images.numpy(), "labels": (torch.arange(12) % 3).numpy()}).with_format("torch")
    return Task("swin", "tiny swin", seeded(load), data, data, ("a", "b", "c"), ("query", "q_proj", "value", "v_proj"))


def in_place_task() -> Task:
    """A block changes the hidden state that it is given."""
    base = language_task()

    def load() -> nn.Module:
        model = base.load_base()
        model.model.layers[1].input_layernorm.register_forward_pre_hook(lambda _, inputs: (inputs[0].mul_(0.5),))
        return model

    return replace(base, load_base=load)


def caching_task() -> Task:
    """A block adds to the keys and values that it kept when it was computed before."""
    base = language_task()

    def load() -> nn.Module:
        model = base.load_base()
        model.forward = partial(model.forward, use_cache=True)
        return model

    return replace(base, load_base=load)


def bert_task(dropout: float) -> Task:
    """A base with dropout of its own."""

    def load() -> nn.Module:
        config = transformers.BertConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, vocab_size=32,
            max_position_embeddings=16, num_labels=3, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
        )  # fmt: skip
        return transformers.BertForSequenceClassification(config)

    return replace(language_task(), load_base=seeded(load), target_modules=("query", "value"))


def lora_adapters(task: Task) -> list[Adapter]:
    """Randomised, of ranks 2 and 3."""
    conv = "c_attn" in task.target_modules
    configs = [peft.LoraConfig(r=r, target_modules=list(task.target_modules), fan_in_fan_out=conv) for r in (2, 3)]
    return [Adapter.from_model(randomise(peft.get_peft_model(task.load_base(), config), config.r)) for config in configs]
