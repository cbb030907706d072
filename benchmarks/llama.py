"""A Llama with random weights and a task of random tokens: what a language model costs does not depend on what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from coto_lab.ground.device import default_device
from coto_lab.tasks import Example


@dataclass(frozen=True)
class Shape:
    """A Llama, and the batch that it trains on. The default has 1.1 billion parameters."""

    width: int = 2048
    intermediate: int = 8192
    layers: int = 16
    heads: int = 32
    kv_heads: int = 8
    vocabulary: int = 32_000
    batch: int = 4
    tokens: int = 512


BILLION = Shape()
SMALL = Shape(width=128, intermediate=256, layers=6, heads=4, kv_heads=2, vocabulary=256, batch=4, tokens=32)
TINY = Shape(width=32, intermediate=64, layers=3, heads=4, kv_heads=2, vocabulary=64, batch=2, tokens=8)

# What DoRA and HiRA adapt in their papers' experiments with language models (arXiv:2402.09353, Appendix A.1).
TARGETS = ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj")


def config_of(shape: Shape, attention: str = "sdpa") -> LlamaConfig:
    """The model's configuration."""
    return LlamaConfig(
        hidden_size=shape.width,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        max_position_embeddings=shape.tokens,
        initializer_range=shape.width**-0.5,  # layers keep the length of what they are given
        use_cache=False,
        attn_implementation=attention,
    )


def random_llama(shape: Shape, dtype: torch.dtype, attention: str = "sdpa") -> PreTrainedModel:
    """The model with random weights, always the same, made on the accelerator if there is one."""
    device = default_device()
    with torch.random.fork_rng([device] if device.type == "cuda" else []), device:
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config_of(shape, attention), dtype=dtype)


class Tokens:
    """Random tokens, each to be predicted from those before it: a task by the protocol.

    Args:
        shape: of the model and of its examples.
        dtype: of the base model.
        examples: of each split.
        attention: which implementation.
    """

    name, target_modules, classes = "tokens", TARGETS, ()

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.bfloat16, examples: int = 64, attention: str = "sdpa"):
        self.shape, self.dtype, self.attention = shape, dtype, attention
        self.base = f"random llama, {shape}, {dtype}"
        generator = torch.Generator().manual_seed(0)
        self._tokens = torch.randint(shape.vocabulary, (examples, shape.tokens), generator=generator)

    def load_base(self) -> PreTrainedModel:
        return random_llama(self.shape, self.dtype, self.attention)

    def size(self, split: str) -> int:
        return len(self._tokens)

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> dict[str, Tensor]:
        return {"input_ids": self._tokens[torch.as_tensor(indices)]}

    def predict(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of every token but the first, ``[n, tokens - 1]``."""
        tokens = batch["input_ids"]
        logits = model(input_ids=tokens).logits[:, :-1].float()
        return nn.functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")

    def loss(self, prediction: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return prediction.mean(1)

    def measure(self, prediction: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Correct: the share of tokens that are likelier than by chance."""
        chance = torch.tensor(self.shape.vocabulary).log()
        return {"loss": prediction.double().mean(1), "correct": (prediction < chance).double().mean(1)}

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        return [Example(f"example {int(i)}") for i in indices]
