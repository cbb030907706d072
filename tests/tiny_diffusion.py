"""A diffusion transformer of random weights in a folder of its own, in the format of the embedded one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DiTTransformer2DModel
from safetensors.torch import save_file

from coto_lab.probes import face_classifier
from coto_lab.tasks import diffuser, glyph_diffusion

NOISE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "timestep_spacing": "trailing"}


def tiny_diffuser(folder: Path) -> Path:
    """Two blocks of width 16, with a face classifier beside them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DiTTransformer2DModel(
            num_attention_heads=2, attention_head_dim=8, in_channels=1, out_channels=1, num_layers=2,
            sample_size=16, patch_size=4, num_embeds_ada_norm=36,
        )  # fmt: skip
        face = face_classifier.FaceClassifier()
    model.save_pretrained(folder)
    DDIMScheduler(**NOISE).save_pretrained(folder)
    save_file(face.state_dict(), folder / face_classifier.WEIGHTS)
    return folder


def use_tiny_diffuser(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny diffuser that takes the place of the embedded one."""
    tiny_diffuser(folder / diffuser.BASE)
    for module in (diffuser, glyph_diffusion, face_classifier):
        monkeypatch.setattr(module, "data_path", folder.joinpath)
    return folder / diffuser.BASE
