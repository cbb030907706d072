"""The base models that ship with the lab, in folders of their own."""

from __future__ import annotations

from pathlib import Path
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

    Raises:
        FileNotFoundError: the folder is missing.
        ValueError: a file in it is missing or damaged, or the weights are not those of the configuration.
    """
    script = f"data/make_{folder.replace('-', '_')}.py"
    again = f"Restore the folder from the repository, or make it again: python {script}."
    return load_folder(data_path(folder), folder, auto_class, attention=attention, again=again)


def load_folder(place: Path, name: str, auto_class: str, *, attention: str, again: str) -> PreTrainedModel:
    """A fresh copy of a base model in a folder.

    Args:
        place: the folder.
        name: what adapters call their base.
        auto_class, attention: as in `load_embedded`.
        again: the end of a message about a damaged folder: how to get a new one.

    Raises:
        ValueError: a file in it is missing or damaged, or the weights are not those of the configuration.
    """
    import transformers
    from transformers.utils import logging

    bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # for a file that loads in milliseconds
    logging.set_verbosity_error()  # what it would report of the weights is an error here
    try:
        model, report = getattr(transformers, auto_class).from_pretrained(
            place,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation=attention,
            output_loading_info=True,
        )
    except Exception as error:  # whatever transformers and safetensors raise for a file that they cannot read
        raise ValueError(_damaged(place, again, f"cannot be loaded, {type(error).__name__}: {error}")) from error
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
    if odd := sorted({*report["missing_keys"], *report["unexpected_keys"]}):
        raise ValueError(_damaged(place, again, f"has not the weights of its config.json, which differ first in {odd[0]}"))
    if wrong := [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]:
        raise ValueError(_damaged(place, again, f"has weights that are not finite, in {wrong[0]}"))
    model.name_or_path = f"coto_lab/{name}"  # PEFT writes it into every adapter; a path would name this machine
    loaded: PreTrainedModel = model
    return loaded


def _damaged(place: Path, again: str, what: str) -> str:
    return f"the base model in {str(place)!r} {what}. {again}"
