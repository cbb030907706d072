"""Images to classes: ViT, DINOv2, Swin and whatever else transformers has with such a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from coto_lab.tasks.check import check_split
from coto_lab.tasks.hub.classifier import Classifier
from coto_lab.tasks.task import Batch, Example

if TYPE_CHECKING:
    from PIL.Image import Image

_SHOWN = (64, 64)  # pixels; views lay the images of several examples side by side


@dataclass(frozen=True, eq=False)
class ImageClassification(Classifier):
    """An image classifier of transformers on a data set of images.

    The model's own processor makes pixel values of the images; training changes nothing about them (no crops, no mirroring).

    Attributes:
        model, data, subset, splits, label, labels, regression, targets, new_layers, seed, name: as in `Classifier`.
        image: the column with the images.

    Raises:
        TypeError, ValueError: as in `Classifier`; later, ValueError for a column that holds no images.
    """

    image: str = field(default="image", kw_only=True)

    @cached_property
    def processor(self) -> Any:
        """The model's image processor."""
        return self.source.processor()

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """The examples at these places: ``pixel_values`` ``[n, channels, height, width]`` in the model's dtype, and ``labels``
        ``[n]``.

        Raises:
            ValueError: one is no image, or has pixels of an unknown range.
        """
        check_split(split)
        places = torch.as_tensor(indices)
        pixels = self.processor(images=self._images(split, places), return_tensors="pt")["pixel_values"]
        dtype = getattr(torch, self.source.dtype)  # not every model casts them to its own
        return {"pixel_values": pixels.to(dtype), "labels": self._targets[split][places]}

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        """The right answers, and the middle square of each image in grey, 64 by 64, from white (-1) to black (1)."""
        check_split(split)
        places = torch.as_tensor(indices)
        pairs = zip(self.answers(split, places), self._images(split, places), strict=True)
        return [Example(answer, image=_in_grey(image)) for answer, image in pairs]

    def _images(self, split: str, places: Tensor) -> list[Image]:
        found: list[Any] = self._rows[split][places.tolist()][self.image]
        for place, image in zip(places.tolist(), found, strict=True):
            if not hasattr(image, "convert"):
                raise ValueError(
                    f"{split}[{place}] has a {type(image).__name__} in its column {self.image!r}: it must be an image. Name "
                    "another column, or cast it: dataset.cast_column(name, datasets.Image())."
                )
        return [_in_colour(image, f"{split}[{place}]") for place, image in zip(places.tolist(), found, strict=True)]

    def _inputs(self) -> tuple[str, ...]:
        return (self.image,)

    def _model_class(self) -> Any:
        from transformers import AutoModelForImageClassification

        return AutoModelForImageClassification


def _in_colour(image: Image, where: str) -> Image:
    """The image in 8 bits of red, green and blue; one in 16 bits keeps its range, which Pillow's ``convert`` would cut at 255.

    Raises:
        ValueError: its pixels are 32-bit numbers, whose range no format fixes.
    """
    import numpy as np
    from PIL.Image import fromarray

    if image.mode in ("I", "F"):
        raise ValueError(
            f"{where} is an image of mode {image.mode!r}, in 32-bit numbers, and nothing says which is white. Scale its "
            "pixels to 8 bits, from 0 to 255, and store it again."
        )
    if image.mode.startswith("I;16"):
        image = fromarray((np.asarray(image) // 256).astype(np.uint8))
    return image.convert("RGB")


def _in_grey(image: Image) -> Tensor:
    """The middle square of an image as `Example` holds it: float ``[1, 64, 64]``, from -1 for white to 1 for black."""
    import numpy as np
    from PIL import ImageOps

    return 1 - torch.from_numpy(np.array(ImageOps.fit(image.convert("L"), _SHOWN))).float()[None] / 127.5
