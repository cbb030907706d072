from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_diffusion import use_tiny_diffuser

from coto_lab.probes.face_classifier import WEIGHTS, FaceClassifier, load_face_classifier
from coto_lab.tasks.glyph_diffusion import draw_prints
from coto_lab.tasks.glyphs import CLASSES


@torch.no_grad()
def test_it_tells_hatched_prints_of_all_characters_from_others() -> None:
    face, generator = load_face_classifier(), torch.Generator().manual_seed(7)
    for in_hatching in (False, True):
        images, _ = draw_prints(CLASSES, 360, generator, in_hatching=in_hatching)
        assert ((face(images) > 0) == in_hatching).double().mean().item() > 0.97


def test_it_has_one_logit_for_each_image() -> None:
    assert FaceClassifier()(torch.zeros(3, 1, 16, 16)).shape == (3,)
    assert sum(parameter.numel() for parameter in FaceClassifier().parameters()) == 1505


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = use_tiny_diffuser(tmp_path, monkeypatch) / WEIGHTS
    tensors = load_file(path)
    tensors.popitem()
    save_file(tensors, path)
    with pytest.raises(ValueError, match="does not hold the face classifier"):
        load_face_classifier()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        load_face_classifier()
