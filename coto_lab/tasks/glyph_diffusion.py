"""Content and style on a diffusion model of glyphs: characters that it has never seen, and a face that it has never seen.

The base model was trained on 30 characters in 16 faces. The *content* task has the six other characters, in these faces; the
*style* task has the 30 characters in a hatched face. Nobody has seen the six characters hatched: that is what a merge of a
content and a style adapter is asked for. It is a small stand-in for merging a subject and a style in a text-to-image model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from coto_lab.ground.files import data_path, sha256
from coto_lab.tasks.check import check_split
from coto_lab.tasks.diffuser import BASE, WEIGHTS, load_diffuser, load_noise_schedule
from coto_lab.tasks.glyphs import CLASSES, TRAIN_FONTS, jitter, render_prints
from coto_lab.tasks.part import Part
from coto_lab.tasks.task import Batch, Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NEW_CHARACTERS = "27AKRX"
KNOWN_CHARACTERS = "".join(character for character in CLASSES if character not in NEW_CHARACTERS)
HATCHED_FONT = "DejaVuSans-Bold"
CONTENT, STYLE = "glyph-diffusion/content", "glyph-diffusion/style"
JITTER = 0.3  # how strongly prints are jittered
_PERIOD, _GAP = 12, 4  # of the hatching, in the 64 pixels of a print
_IMAGES = {"train": 240, "test": 60}
_DRAWS = {"train": 16, "test": 8}  # of noise and time, for each image


def hatched(prints: Float[Tensor, "n 64 64"]) -> Float[Tensor, "n 64 64"]:
    """Prints with diagonal lines of paper across the ink."""
    places = torch.arange(prints.shape[-1])
    return prints * ((places[:, None] + places) % _PERIOD >= _GAP)


def draw_prints(
    characters: str, n: int, generator: torch.Generator, *, in_hatching: bool = False
) -> tuple[Float[Tensor, "n 1 16 16"], Int64[Tensor, " n"]]:
    """So many jittered prints, of the characters in turn: images in [-1, 1], and labels as places in ``CLASSES``.

    Args:
        characters: some of ``CLASSES``.
        n: how many prints.
        generator: of all that is drawn.
        in_hatching: the hatched face; otherwise each print is in one of the 16 faces of the base, drawn at random.
    """
    labels = torch.tensor([CLASSES.index(character) for character in characters])[torch.arange(n) % len(characters)]
    if in_hatching:
        prints = hatched(render_prints((HATCHED_FONT,))[0, labels])
    else:
        prints = render_prints(TRAIN_FONTS)[torch.randint(len(TRAIN_FONTS), (n,), generator=generator), labels]
    return jitter(prints, generator, JITTER), labels


@dataclass(frozen=True, eq=False)
class GlyphDiffusion:
    """Noisy images of glyphs, in which the model is to see how image and noise are mixed.

    An example is an image with noise and a time of its own, which are always the same: each of 240 training images is there
    with 16 draws of both, each of 60 test images with 8. Test images are other prints of the same characters and faces.

    Attributes:
        name: as in `Task`.
        characters: what is printed, some of ``CLASSES``.
        in_hatching: whether in the hatched face, or in the base's.
        target_modules: as in `Task`.
        classes: none; what the model says is an image.
    """

    name: str
    characters: str
    in_hatching: bool
    target_modules: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
    classes: tuple[str, ...] = field(default=(), init=False)

    @cached_property
    def base(self) -> str:
        """As in `Task`."""
        return sha256(data_path(BASE, WEIGHTS))

    def load_base(self) -> PreTrainedModel:
        """A fresh copy of the base: a diffusion transformer, of diffusers and not of transformers."""
        return cast("PreTrainedModel", load_diffuser())

    def every(self, step: int) -> Part:
        """The task with every ``step``-th test example, from the first one on."""
        return Part(self, step)

    def size(self, split: str) -> int:
        """How many examples a split has."""
        check_split(split)
        return _IMAGES[split] * _DRAWS[split]

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """The examples at these places.

        Returns:
            ``noisy`` = a · ``image`` + b · noise, with a² + b² = 1; ``velocity`` = a · noise - b · ``image``; each float32
            ``[n, 1, 16, 16]``; ``a`` and ``b`` float32 ``[n, 1, 1, 1]``; ``time`` and ``character`` int64 ``[n]``.
        """
        check_split(split)
        places = torch.as_tensor(indices)
        return {name: column[places] for name, column in self._columns[split].items()}

    def predict(self, model: nn.Module, batch: Batch) -> Float[Tensor, "n 1 16 16"]:
        """The velocity (Salimans & Ho 2022, arXiv:2202.00512), of which image and noise follow."""
        prediction: Tensor = model(batch["noisy"], timestep=batch["time"], class_labels=batch["character"]).sample
        return prediction

    def loss(self, prediction: Float[Tensor, "n 1 16 16"], batch: Batch) -> Float[Tensor, " n"]:
        """The mean squared error of the velocity: ``[n]``. It is not in nats."""
        return (prediction - batch["velocity"]).square().flatten(1).mean(1)

    def measure(self, prediction: Float[Tensor, "n 1 16 16"], batch: Batch) -> dict[str, Tensor]:
        """The loss, and ``correct``: the share of pixels that are ink where there is ink, and paper where there is paper.

        The image that follows from the prediction is compared with the one without noise; ink is what is above mid-grey, 0.
        This says how well one step of denoising works, not how good samples are, which `coto_lab.probes.glyph_sampling` draws
        and scores.
        """
        prediction = prediction.float().cpu().double()
        batch = {name: column.cpu() for name, column in batch.items()}
        image = batch["a"] * batch["noisy"] - batch["b"] * prediction
        right = (image > 0) == (batch["image"] > 0)
        return {"loss": self.loss(prediction, batch), "correct": right.flatten(1).double().mean(1)}

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        """The images without noise."""
        batch = self.batch(split, indices)
        return [
            Example(CLASSES[label], image=image)
            for label, image in zip(batch["character"].tolist(), batch["image"], strict=True)
        ]

    @cached_property
    def _columns(self) -> dict[str, Batch]:
        return {split: self._drawn(split, seed) for seed, split in enumerate(_IMAGES, start=1)}

    def _drawn(self, split: str, seed: int) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        images, labels = draw_prints(self.characters, _IMAGES[split], generator, in_hatching=self.in_hatching)
        images, labels = images.repeat_interleave(_DRAWS[split], 0), labels.repeat_interleave(_DRAWS[split])
        schedule = load_noise_schedule()
        noise = torch.randn(images.shape, generator=generator)
        time = torch.randint(schedule.config.num_train_timesteps, labels.shape, generator=generator)
        share = schedule.alphas_cumprod[time][:, None, None, None]
        return {
            "noisy": schedule.add_noise(images, noise, time),
            "velocity": schedule.get_velocity(images, noise, time),
            "image": images,
            "a": share.sqrt(),
            "b": (1 - share).sqrt(),
            "time": time,
            "character": labels,
        }


def load_content_task() -> GlyphDiffusion:
    """Six characters that the base has never seen, in the faces that it knows.

    Raises:
        FileNotFoundError: the embedded base model is missing.
    """
    return GlyphDiffusion(CONTENT, NEW_CHARACTERS, in_hatching=False)


def load_style_task() -> GlyphDiffusion:
    """The characters that the base knows, in a face that it has never seen.

    Raises:
        FileNotFoundError: the embedded base model is missing.
    """
    return GlyphDiffusion(STYLE, KNOWN_CHARACTERS, in_hatching=True)
