"""The base models that ship with the lab, in folders of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coto_lab.ground.files import data_path, sha256

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS = "model.safetensors"


def identity(folder: str) -> str:
    """The identity of an embedded base model, `Task.base`: the SHA-256 of its weights.

    Raises:
        FileNotFoundError: the model is missing.
    """
    return sha256(data_path(folder, WEIGHTS))


def load_embedded(folder: str, auto_class: str, attention: str) -> PreTrainedModel:
    """A fresh copy of an embedded base model.

    Args:
        folder: its folder below the data.
        auto_class: transformers' class that loads it, such as ``"AutoModelForCausalLM"``.
        attention: the implementation of attention that is fastest for this model on a CPU.
    """
    import transformers
    from transformers.utils import logging

    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # for a file that loads in milliseconds
    try:
        model: PreTrainedModel = getattr(transformers, auto_class).from_pretrained(
            data_path(folder), local_files_only=True, use_safetensors=True, attn_implementation=attention
        )
    finally:
        if bar:
            logging.enable_progress_bar()
    model.name_or_path = f"coto_lab/{folder}"  # PEFT writes it into every adapter; a path would name this machine
    return model
