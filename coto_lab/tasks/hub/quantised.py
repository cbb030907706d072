"""Frozen weights stored in 8 or 4 bits, by packages that are used where they are installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from packaging.version import Version

from coto_lab.ground.device import default_device
from coto_lab.ground.versions import version_of

QUANTISED = ("nf4", "int8", "int8-torchao")
# PEFT refuses any adapter where an older torchao is installed; an older bitsandbytes cannot move 8-bit weights.
_OLDEST = {"torchao": "0.16", "bitsandbytes": "0.48"}


def check_quantised(quantised: str) -> None:
    """Whether weights can be stored so here.

    Args:
        quantised: one of `QUANTISED`.

    Raises:
        ImportError: the package for it is absent or too old.
        ValueError: bitsandbytes, and no accelerator.
    """
    package = "torchao" if quantised == "int8-torchao" else "bitsandbytes"
    if find_spec(package) is None:
        raise ImportError(
            f"quantised={quantised!r} needs the package {package}: `pip install {package}`, or take quantised=None."
        )
    if Version(version_of(package)) < Version(_OLDEST[package]):
        raise ImportError(
            f"quantised={quantised!r}: the installed {package} {version_of(package)} is too old: "
            f"`pip install '{package}>={_OLDEST[package]}'`."
        )
    if package == "bitsandbytes" and default_device().type == "cpu":
        raise ValueError(
            f"quantised={quantised!r}: bitsandbytes quantises on a GPU, and there is none here. Take quantised=None or "
            "'int8-torchao', or a machine with a GPU."
        )


def quantisation(quantised: str, dtype: torch.dtype, whole: Sequence[str]) -> Any:
    """transformers' configuration of the storage.

    Of PEFT's ``prepare_model_for_kbit_training`` nothing is left to do for a frozen base: PEFT freezes it, all that is not
    quantised has ``dtype``, and checkpointing of the non-reentrant kind needs no gradient of its inputs.

    Args:
        quantised: one of `QUANTISED`.
        dtype: in which the layers compute.
        whole: the ends of the names of modules that stay as they are, since they are trained.
    """
    from transformers import BitsAndBytesConfig, TorchAoConfig

    if quantised == "int8-torchao":
        from torchao.quantization import Int8WeightOnlyConfig

        return TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=list(whole))
    kind: dict[str, Any] = {"load_in_8bit": True}
    if quantised == "nf4":
        kind = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
    return BitsAndBytesConfig(**kind, llm_int8_skip_modules=[*whole, "lm_head"])
