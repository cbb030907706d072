"""Tiny tasks over tiny models of several kinds, and plain LoRA adapters on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial

import peft
import torch
import transformers
from datasets import Dataset
from tiny_models import TARGETS, randomise
from torch import Tensor, nn

from coto_lab import Adapter
from coto_lab.tasks import Classification, Example, Task


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


def language_task(padded: bool = False, length: int = 7, **settings: object) -> Classification:
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
    return Classification("tokens", "tiny llama", seeded(load), data, data, ("a", "b", "c"), tuple(TARGETS))


def gpt2_task() -> Classification:
    """Its layers are ``Conv1D``."""

    def load() -> nn.Module:
        config = transformers.GPT2Config(
            n_embd=16, n_layer=2, n_head=2, n_positions=16, vocab_size=32, num_labels=3,
            pad_token_id=0, bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        return transformers.GPT2ForSequenceClassification(config)

    return replace(language_task(), load_base=seeded(load), target_modules=("c_attn", "c_fc"))


def swin_task(depths: tuple[int, ...]) -> Classification:
    """Its blocks are called with more than a hidden state, and stand in one stack for each stage."""

    def load() -> nn.Module:
        config = transformers.SwinConfig(
            image_size=8, patch_size=2, num_channels=1, embed_dim=8, depths=depths, num_heads=[2] * len(depths),
            window_size=2, num_labels=3,
        )  # fmt: skip
        return transformers.SwinForImageClassification(config)

    images = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    data = Dataset.from_dict({"pixel_values": images.numpy(), "labels": (torch.arange(12) % 3).numpy()}).with_format("torch")
    return Classification(
        "swin", "tiny swin", seeded(load), data, data, ("a", "b", "c"), ("query", "q_proj", "value", "v_proj")
    )


def in_place_task() -> Classification:
    """A block changes the hidden state that it is given."""
    base = language_task()

    def load() -> nn.Module:
        model = base.load_base()
        model.model.layers[1].input_layernorm.register_forward_pre_hook(lambda _, inputs: (inputs[0].mul_(0.5),))
        return model

    return replace(base, load_base=load)


def caching_task() -> Classification:
    """A block adds to the keys and values that it kept when it was computed before."""
    base = language_task()

    def load() -> nn.Module:
        model = base.load_base()
        model.forward = partial(model.forward, use_cache=True)
        return model

    return replace(base, load_base=load)


def bert_task(dropout: float) -> Classification:
    """A base with dropout of its own."""

    def load() -> nn.Module:
        config = transformers.BertConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, vocab_size=32,
            max_position_embeddings=16, num_labels=3, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
        )  # fmt: skip
        return transformers.BertForSequenceClassification(config)

    return replace(language_task(), load_base=seeded(load), target_modules=("query", "value"))


class Headed(Classification):
    """Its head is new, so it trains whole beside the adapter."""

    modules_to_save = ("classifier",)


def headed_task() -> Headed:
    """`bert_task` without dropout, with a new head."""
    base = bert_task(0.0)
    return Headed(**{field.name: getattr(base, field.name) for field in fields(Classification)})


class _Double(Classification):
    """Inputs in float64."""

    def predict(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return super().predict(model, {name: x.double() if x.is_floating_point() else x for name, x in batch.items()})


def in_double(task: Classification) -> Classification:
    """The task in float64, where rounding hides nothing."""
    values = {field.name: getattr(task, field.name) for field in fields(Classification)}
    return _Double(**values | {"load_base": lambda: task.load_base().double()})


class CopyTask:
    """A causal language model copies letters, ``abc=abc``: a task by the protocol alone, without classes and without images.

    Examples have one to three letters, so batches are padded; nothing is inherited from coto_lab, and no data are kept.
    """

    name = "copy"
    base = "tiny causal llama"
    target_modules = ("q_proj", "v_proj")
    classes = ()
    _letters = "abcdefgh"
    _pad, _equals = 8, 9  # after the letters

    def __init__(self, layers: int = 4, train: int = 48, test: int = 40):
        self._layers, self._sizes = layers, {"train": train, "test": test}

    def load_base(self) -> nn.Module:
        config = transformers.LlamaConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=self._layers, num_attention_heads=2,
            num_key_value_heads=2, vocab_size=10, max_position_embeddings=16, pad_token_id=self._pad, tie_word_embeddings=True,
        )  # fmt: skip
        return seeded(lambda: transformers.LlamaForCausalLM(config))()

    def size(self, split: str) -> int:
        return self._sizes[split]

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> dict[str, Tensor]:
        letters = [self._example(split, int(i)) for i in indices]
        prompts = [[*word, self._equals] for word in letters]
        longest = max(map(len, prompts)) + max(map(len, letters))
        columns = {"input_ids": self._pad, "attention_mask": 0, "targets": -100}
        batch = {name: torch.full((len(letters), longest), fill) for name, fill in columns.items()}
        for row, (prompt, answer) in enumerate(zip(prompts, letters, strict=True)):
            start, end = len(prompt), len(prompt) + len(answer)
            batch["input_ids"][row, :end] = torch.tensor(prompt + answer)
            batch["attention_mask"][row, :end] = 1
            batch["targets"][row, start:end] = torch.tensor(answer)
        return batch

    def predict(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Logits of the next token, before each position: ``[n, length - 1, vocabulary]``."""
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]

    def loss(self, prediction: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Cross-entropy, averaged over the tokens of each answer."""
        targets = batch["targets"][:, 1:]
        losses = nn.functional.cross_entropy(prediction.transpose(1, 2), targets, reduction="none")
        return losses.sum(-1) / (targets >= 0).sum(-1)

    def measure(self, prediction: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Correct is an answer whose every token is the most likely one."""
        targets = batch["targets"][:, 1:]
        right = (prediction.argmax(-1) == targets) | (targets < 0)
        return {"loss": self.loss(prediction.double(), batch), "correct": right.all(-1)}

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        words = ["".join(self._letters[i] for i in self._example(split, int(index))) for index in indices]
        return [Example(word, text=f"{word}=") for word in words]

    def _example(self, split: str, index: int) -> list[int]:
        if not 0 <= index < self.size(split):
            raise IndexError(f"{split} example {index} of {self.size(split)}")
        generator = torch.Generator().manual_seed(2 * index + (split == "test"))
        length = int(torch.randint(1, 4, (), generator=generator))
        return torch.randint(len(self._letters), (length,), generator=generator).tolist()


class SpeakingTask(CopyTask):
    """It also says what the model answers, as text; padding and the sign of equality are shown as ``_`` and ``=``."""

    def say(self, prediction: Tensor, batch: dict[str, Tensor]) -> list[str]:
        """The most likely letter at each place of the answer."""
        rows = zip(prediction.argmax(-1), batch["targets"][:, 1:], strict=True)
        return ["".join(f"{self._letters}_="[i] for i in said[targets >= 0].tolist()) for said, targets in rows]


def lora_adapters(task: Task) -> list[Adapter]:
    """Randomised, of ranks 2 and 3."""
    conv = "c_attn" in task.target_modules
    configs = [peft.LoraConfig(r=r, target_modules=list(task.target_modules), fan_in_fan_out=conv) for r in (2, 3)]
    return [Adapter.from_model(randomise(peft.get_peft_model(task.load_base(), config), config.r)) for config in configs]
