"""Six tasks on the glyph ViT and its 36 logits, for merging: handwritten digits, and prints under five shifts.

The base classifies clean prints well and these badly. All tasks share one set of classes, the characters 0-9 and A-Z, so one
model with merged adapters can be asked for all six. Some prints of different tasks look alike: a Z that was turned is an N.
Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from coto_lab.tasks.classification import Classification
from coto_lab.tasks.digits import BASE, handwritten_digits, load_glyph_vit
from coto_lab.tasks.embedded import identity
from coto_lab.tasks.glyphs import CLASSES, HELD_OUT_FONTS, IMAGE_SIZE, TRAIN_FONTS, jitter, render_prints

if TYPE_CHECKING:
    from datasets import Dataset

SHOTS, TEST_SHOTS = 16, 12  # prints of each of the 36 characters, for training and for the test
_JITTER = 0.5  # how strongly the photographs are jittered; at 1, few shots teach the hard shifts to half of the prints only
HANDWRITTEN = "handwritten"


@dataclass(frozen=True)
class Shift:
    """What happens to a print.

    Attributes:
        about: in words.
        of_print: changes clean prints ``[n, 64, 64]``, ink 1 on paper 0, before they are photographed.
        of_image: changes photographs ``[n, 1, 16, 16]`` in [-1, 1].
    """

    about: str
    of_print: Callable[[Tensor], Tensor]
    of_image: Callable[[Tensor], Tensor]


def _same(images: Tensor) -> Tensor:
    return images


def _half_size(prints: Tensor) -> Tensor:
    smaller = F.interpolate(prints[:, None], scale_factor=0.5, mode="area")[:, 0]
    margin = (prints.shape[-1] - smaller.shape[-1]) // 2
    return F.pad(smaller, (margin, margin, margin, margin))


def _upper_half(images: Tensor) -> Tensor:
    hidden = torch.full_like(images, -1.0)
    hidden[:, :, : IMAGE_SIZE // 2] = images[:, :, : IMAGE_SIZE // 2]
    return hidden


SHIFTS: Mapping[str, Shift] = {
    "mirrored": Shift("left and right change places", lambda prints: prints.flip(-1), _same),
    "turned": Shift("turned a quarter to the left", lambda prints: prints.rot90(1, (-2, -1)), _same),
    "inverted": Shift("paper on ink", _same, lambda images: -images),
    "half-hidden": Shift("the lower half is hidden", _same, _upper_half),
    "half-size": Shift("half as high and wide", _half_size, _same),
}
TASKS = (HANDWRITTEN, *SHIFTS)


def load_shifted_task(name: str) -> Classification:
    """``"handwritten"``, the split of `load_digits_task` over all 36 logits; or prints under the shift ``SHIFTS[name]``.

    Of each character there are 16 training prints in the faces that the base was trained on, and 12 test prints in three faces
    that neither the base nor an adapter has seen; always the same ones (another version of Pillow may round pixels otherwise).

    Raises:
        KeyError: no such task.
        FileNotFoundError: the embedded base model is missing.
    """
    if name == HANDWRITTEN:
        train, test = handwritten_digits()
    else:
        shift = SHIFTS[name]
        train = _prints(shift, TRAIN_FONTS, SHOTS, seed=1)
        test = _prints(shift, HELD_OUT_FONTS, TEST_SHOTS, seed=2)
    return Classification(
        name=f"glyphs/{name}",
        base=identity(BASE),
        load_base=load_glyph_vit,
        train=train,
        test=test,
        classes=tuple(CLASSES),
        target_modules=("q_proj", "k_proj", "v_proj"),
    )


def _prints(shift: Shift, fonts: tuple[str, ...], shots: int, seed: int) -> Dataset:
    """So many prints of each character, in faces that are drawn at random; columns as in `handwritten_digits`."""
    from datasets import Array3D, Dataset, Features, Value

    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(CLASSES)).repeat_interleave(shots)
    faces = torch.randint(len(fonts), labels.shape, generator=generator)
    images = shift.of_image(jitter(shift.of_print(render_prints(fonts)[faces, labels]), generator, _JITTER))
    features = Features({"pixel_values": Array3D((1, IMAGE_SIZE, IMAGE_SIZE), dtype="float32"), "labels": Value("int64")})
    columns = {"pixel_values": images.numpy(), "labels": labels.numpy()}
    return Dataset.from_dict(columns, features=features).with_format("torch")
