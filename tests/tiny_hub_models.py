"""Small models with random weights, saved in the hub's format with their tokenizers and image processors."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import transformers
from tiny_tasks import seeded
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def byte_tokenizer(chat: str | None = CHAT, **settings: object) -> transformers.PreTrainedTokenizerFast:
    """One token for each byte, after three special ones; it ends a text with ``<|im_end|>`` and has no padding token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({token: i for i, token in enumerate([*_SPECIAL, *alphabet])}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(token, special=True) for token in _SPECIAL])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, **{"eos_token": "<|im_end|>", "additional_special_tokens": ["<|im_start|>"]} | settings
    )
    tokenizer.chat_template = chat
    return tokenizer


def save_causal(folder: Path, kind: str = "llama", tokenizer: object = None, layers: int = 4, **settings: object) -> str:
    """A language model of a ``kind`` such as ``"llama"`` or ``"qwen2"`` on bytes."""
    tokenizer = byte_tokenizer() if tokenizer is None else tokenizer
    sizes = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": layers, "num_attention_heads": 2,
        "num_key_value_heads": 2, "vocab_size": len(tokenizer), "max_position_embeddings": 256, "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    config = transformers.AutoConfig.for_model(kind, **sizes | settings)
    model = seeded(lambda: transformers.AutoModelForCausalLM.from_config(config))()
    return save(folder, model, tokenizer)


def save(folder: Path, *parts: nn.Module | object) -> str:
    """What transformers writes of a model, a tokenizer, a processor: the name of the folder."""
    with torch.random.fork_rng():
        for part in parts:
            part.save_pretrained(folder)
    return str(folder)


def save_clip(folder: Path, kind: str = "clip", **settings: object) -> str:
    """A model of ``kind`` ``"clip"`` or ``"siglip"`` with two towers, of 2 and 3 blocks; its images have 8 by 8 pixels."""
    tokenizer = byte_tokenizer(chat=None, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
    )
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
    text = sizes | {
        "num_hidden_layers": 2, "vocab_size": len(tokenizer), "max_position_embeddings": 40, "projection_size": 32,
        "bos_token_id": 1, "eos_token_id": 0, "pad_token_id": 0,
    }  # fmt: skip
    image = sizes | {"num_hidden_layers": 3, "image_size": 8, "patch_size": 4}
    own = {"projection_dim": 16, "logit_scale_init_value": math.log(100)} if kind == "clip" else {}
    config = transformers.AutoConfig.for_model(kind, text_config=text, vision_config=image, **own | settings)
    model = seeded(lambda: transformers.AutoModel.from_config(config))()
    make = transformers.CLIPImageProcessorPil if kind == "clip" else transformers.SiglipImageProcessorPil
    size = {"height": 8, "width": 8}
    return save(folder, model, tokenizer, make(size=size, crop_size=size) if kind == "clip" else make(size=size))
