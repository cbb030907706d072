"""The embedded task: a model that recognises printed characters learns handwritten digits from 16 examples of each.

The base is the glyph ViT in ``data/glyph-vit`` (see its README); the data are scikit-learn's handwritten digits, 1,797 real
8x8 images (Alpaydin & Kaynak, UCI 1998) that are bundled with that package. Nothing is downloaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from coto_lab.tasks.classification import Classification
from coto_lab.tasks.embedded import identity, load_embedded
from coto_lab.tasks.glyphs import IMAGE_SIZE

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

BASE = "glyph-vit"
COUNTS, INK = 8, 16  # the data set's images have 8x8 numbers from 0 to 16: how many of 4x4 cells have ink
SHOTS = 16  # training images per class; the rest is the test set


def load_digits_task() -> Classification:
    """160 training and 1,637 test images of the digits 0-9, scored on the base's own ten digit logits (no new head).

    The split is fixed, so runs of different seeds saw the same shots.

    Raises:
        FileNotFoundError: the embedded base model is missing.
    """
    train, test = handwritten_digits()
    return Classification(
        name="digits",
        base=identity(BASE),
        load_base=load_glyph_vit,
        train=train,
        test=test,
        classes=tuple("0123456789"),
        target_modules=("q_proj", "k_proj", "v_proj"),
    )


def load_glyph_vit() -> PreTrainedModel:
    """A fresh copy of the base: a ViT with 8 blocks of width 64 that reads the 36 printed classes 0-9, A-Z."""
    # On 17 tokens, eager attention is faster than torch's fused kernel on a CPU (make bench).
    return load_embedded(BASE, "AutoModelForImageClassification", attention="eager")


def enlarged(counts: Float[Tensor, "n 8 8"]) -> Float[Tensor, "n 1 16 16"]:
    """The data set's numbers from 0 to 16 as images of the size of the base's prints, bilinearly: ink is 1, paper -1."""
    images = counts[:, None] / INK
    return F.interpolate(images, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", align_corners=False) * 2 - 1


def handwritten_digits() -> tuple[Dataset, Dataset]:
    """Training and test split; columns ``pixel_values`` float32 ``[1, 16, 16]`` in [-1, 1] and ``labels`` int64."""
    from datasets import Array3D, Dataset, Features, Value
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = enlarged(torch.from_numpy(digits.images).float())
    order = np.random.RandomState(0).permutation(len(images))
    by_class = [order[digits.target[order] == digit] for digit in range(10)]
    train = np.concatenate([indices[:SHOTS] for indices in by_class])
    test = np.sort(np.concatenate([indices[SHOTS:] for indices in by_class]))
    features = Features({"pixel_values": Array3D((1, IMAGE_SIZE, IMAGE_SIZE), dtype="float32"), "labels": Value("int64")})

    def split(indices: np.ndarray) -> Dataset:
        columns = {"pixel_values": images[indices].numpy(), "labels": digits.target[indices]}
        return Dataset.from_dict(columns, features=features).with_format("torch")

    return split(train), split(test)
