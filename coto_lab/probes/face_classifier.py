"""A small convolutional network that tells the hatched face from the sixteen others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from coto_lab.ground.files import data_path, read_tensors
from coto_lab.tasks.diffuser import BASE

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "face_classifier.safetensors"


class FaceClassifier(nn.Sequential):
    """Images ``[n, 1, 16, 16]`` in [-1, 1] to one logit each, ``[n]``: above 0 where the face is hatched."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(256, 1), nn.Flatten(0),
        )  # fmt: skip


def load_face_classifier() -> FaceClassifier:
    """The one that ``data/make_glyph_diffusion.py`` trained on jittered prints; the README beside it has its accuracy.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: its file is damaged.
    """
    path = data_path(BASE, WEIGHTS)
    tensors: dict[str, Tensor] = read_tensors(path)[0]
    model = FaceClassifier()
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{str(path)!r} does not hold the face classifier: {error}") from error
    return model.eval()
