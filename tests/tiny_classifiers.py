"""Small classifiers of texts and images with random weights, saved in the hub's format, and data sets to go with them."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import torch
import transformers
from tiny_hub_models import save
from tiny_tasks import seeded
from tokenizers import Tokenizer, models, pre_tokenizers, processors

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = ("good", "bad", "a", "the", "film", "book", "was", "and", "very", "long")
COLOURS = ("red", "green", "blue")

_SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
_TEXT = _SIZES | {"vocab_size": len(SPECIAL + WORDS), "max_position_embeddings": 40, "pad_token_id": 0}
_IMAGE = _SIZES | {"image_size": 8, "patch_size": 4}
# What a checkpoint of each architecture was saved from, usually: pre-training, with no classifier.
TEXT_MODELS = {
    "bert": ("BertModel", _TEXT),
    "roberta": ("RobertaForMaskedLM", _TEXT | {"type_vocab_size": 1, "bos_token_id": 2, "eos_token_id": 3}),
    "deberta-v2": (
        "DebertaV2ForMaskedLM",
        _TEXT
        | {"type_vocab_size": 0, "relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]}
        | {"share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False},
    ),
    "modernbert": (
        "ModernBertForMaskedLM",
        _TEXT | {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
    ),
}
IMAGE_MODELS = {
    "vit": ("ViTModel", _IMAGE),
    "dinov2": ("Dinov2Model", _IMAGE | {"mlp_ratio": 2}),
    "swin": (
        "SwinModel",
        {"image_size": 8, "patch_size": 2, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 2], "window_size": 2},
    ),
}


def word_tokenizer(kind: str = "bert") -> transformers.PreTrainedTokenizerFast:
    """One token for each word; texts begin with [CLS], and each ends with [SEP]."""
    inner = Tokenizer(models.WordLevel({token: i for i, token in enumerate(SPECIAL + WORDS)}, "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    types = ["token_type_ids"] if kind in ("bert", "deberta-v2") else []
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=40, model_input_names=["input_ids", *types, "attention_mask"],
    )  # fmt: skip


def save_text_model(folder: Path, kind: str, saved_from: str | None = None, **settings: object) -> str:
    """A model for texts, of a key of `TEXT_MODELS`."""
    name, sizes = TEXT_MODELS[kind]
    config = transformers.AutoConfig.for_model(kind, **sizes | settings)
    model = seeded(lambda: getattr(transformers, saved_from or name)(config))()
    return save(folder, model, word_tokenizer(kind))


def save_image_model(folder: Path, kind: str) -> str:
    """A model for images of 8 by 8 pixels in three colours, of a key of `IMAGE_MODELS`."""
    name, sizes = IMAGE_MODELS[kind]
    config = transformers.AutoConfig.for_model(kind, **sizes)
    processor = transformers.ViTImageProcessorPil(size={"height": 8, "width": 8})
    return save(folder, seeded(lambda: getattr(transformers, name)(config))(), processor)


def sentences(n: int, seed: int = 0) -> datasets.Dataset:
    """Texts of 3 to 8 words; label 1 where "good" comes before "bad"; a score, how many words are "very", and a second text."""
    rng = np.random.default_rng(seed)
    texts, others, labels, scores = [], [], [], []
    for _ in range(n):
        words = list(rng.choice(WORDS[2:], rng.integers(1, 7)))
        label = int(rng.integers(2))
        words.insert(0, WORDS[1 - label])
        words.append(WORDS[label])
        texts.append(" ".join(words))
        others.append(" ".join(rng.choice(WORDS, 3)))
        labels.append(label)
        scores.append(float(words.count("very")))
    columns = {"sentence": texts, "sentence2": others, "label": labels, "score": scores}
    features = datasets.Features(
        {
            "sentence": datasets.Value("string"),
            "sentence2": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["negative", "positive"]),
            "score": datasets.Value("float32"),
        }
    )
    return datasets.Dataset.from_dict(columns, features=features)


def text_data(train: int = 48, test: int = 40) -> datasets.DatasetDict:
    """`sentences` to train and to validate on."""
    return datasets.DatasetDict({"train": sentences(train, 1), "validation": sentences(test, 2)})


def save_parquet(folder: Path, data: datasets.DatasetDict) -> str:
    """A data set as the hub stores it: one parquet file for each split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in data.items():
        rows.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return str(folder)


def colour_data(train: int = 24, test: int = 18) -> datasets.DatasetDict:
    """Images of another size than the models read, mostly of one colour, which is the label."""
    from PIL import Image

    def images(n: int, seed: int) -> datasets.Dataset:
        rng = np.random.default_rng(seed)
        labels = [int(i) for i in rng.integers(3, size=n)]
        pixels = rng.integers(0, 120, size=(n, 12, 10, 3), dtype=np.uint8)
        for i, label in enumerate(labels):
            pixels[i, :, :, label] += 100
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(COLOURS))})
        return datasets.Dataset.from_dict({"image": [Image.fromarray(p) for p in pixels], "label": labels}, features=features)

    return datasets.DatasetDict({"train": images(train, 1), "validation": images(test, 2)})


def equal(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    """Whether two models have the same weights."""
    pairs = zip(first.named_parameters(), second.named_parameters(), strict=True)
    return all(n == m and torch.equal(a, b) for (n, a), (m, b) in pairs)
