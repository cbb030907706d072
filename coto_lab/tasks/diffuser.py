"""The embedded diffusion model of glyphs: a diffusion transformer of diffusers, asked for a character."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from coto_lab.ground.files import data_path

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, DiTTransformer2DModel

BASE = "glyph-diffusion"
WEIGHTS = "diffusion_pytorch_model.safetensors"  # diffusers' own name
_AGAIN = "Restore the folder from the repository, or make it again: python data/make_glyph_diffusion.py."


def load_diffuser(place: Path | None = None) -> DiTTransformer2DModel:
    """A fresh copy of the diffusion model, in float32.

    No labels are dropped, in training mode neither (diffusers' default is a tenth), so that it draws no random numbers.

    Args:
        place: its folder; None takes the embedded one.

    Raises:
        ImportError: diffusers is not installed.
        FileNotFoundError: the embedded folder is missing.
        ValueError: a file in it is missing or damaged, or the weights are not those of the configuration.
    """
    import torch
    from diffusers import DiTTransformer2DModel
    from diffusers.models.embeddings import LabelEmbedding
    from diffusers.utils import logging

    place = data_path(BASE) if place is None else place
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # what it would report of the weights is an error here
    try:
        model, report = DiTTransformer2DModel.from_pretrained(
            place,
            local_files_only=True,
            use_safetensors=True,
            torch_dtype=torch.float32,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except Exception as error:  # whatever diffusers and safetensors raise for a file that they cannot read
        raise ValueError(_damaged(place, f"cannot be loaded, {type(error).__name__}: {error}")) from error
    finally:
        logging.set_verbosity(level)
    if odd := sorted({*report["missing_keys"], *report["unexpected_keys"]}):
        raise ValueError(_damaged(place, f"has not the weights of its config.json, which differ first in {odd[0]}"))
    if wrong := [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]:
        raise ValueError(_damaged(place, f"has weights that are not finite, in {wrong[0]}"))
    for module in model.modules():
        if isinstance(module, LabelEmbedding):
            module.dropout_prob = 0.0
    loaded: DiTTransformer2DModel = model.eval()
    return loaded


def load_noise_schedule(place: Path | None = None) -> DDIMScheduler:
    """How much noise each of the 1,000 times has, and the steps of sampling without new noise (DDIM).

    Raises:
        ImportError, FileNotFoundError, ValueError: as for `load_diffuser`.
    """
    from diffusers import DDIMScheduler

    place = data_path(BASE) if place is None else place
    try:
        schedule: DDIMScheduler = DDIMScheduler.from_pretrained(place, local_files_only=True)
    except Exception as error:  # as above
        raise ValueError(_damaged(place, f"has no noise schedule, {type(error).__name__}: {error}")) from error
    return schedule


def _damaged(place: Path, what: str) -> str:
    return f"the diffusion model in {str(place)!r} {what}. {_AGAIN}"
