"""Glyphs drawn by the diffusion model, and how many are the character and the face that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from coto_lab.ground.numbers import MAX_SEED, whole_number
from coto_lab.tasks.digits import load_glyph_vit
from coto_lab.tasks.glyphs import CLASSES, IMAGE_SIZE

if TYPE_CHECKING:
    from diffusers import DDIMScheduler


@torch.no_grad()
def sample_glyphs(
    model: nn.Module,
    schedule: DDIMScheduler,
    characters: str,
    *,
    each: int = 1,
    seed: int = 0,
    steps: int = 20,
) -> Float[Tensor, "characters each 1 16 16"]:
    """Images that the model makes of pure noise, in [-1, 1]; torch's global random state is left untouched.

    The same seed gives the same noise to every model, so that pictures of two models can be compared one by one.

    Args:
        model: the diffusion model, with or without an adapter; it is as before afterwards.
        schedule: how much noise each time has, `coto_lab.tasks.diffuser.load_noise_schedule`.
        characters: what to draw, some of ``CLASSES``; a character may be there twice.
        each: how many images of each.
        seed: of the noise.
        steps: of DDIM without new noise (Song et al. 2021, arXiv:2010.02502).

    Raises:
        ValueError: no characters, or one that the model does not know; ``each`` below 1; ``steps`` outside 1 to
            1,000; ``seed`` is no whole number from 0.
    """
    if not isinstance(characters, str) or not characters or set(characters) - set(CLASSES):
        raise ValueError(f"characters={characters!r}: give a string of characters out of {CLASSES!r}, such as '27A'.")
    each, seed = whole_number("each", each, 1), whole_number("seed", seed, 0, MAX_SEED)
    steps = whole_number("steps", steps, 1, schedule.config.num_train_timesteps)
    device = next(model.parameters()).device
    labels = torch.tensor([CLASSES.index(character) for character in characters], device=device).repeat_interleave(each)
    noise = torch.randn(len(labels), 1, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(seed))
    images = noise.to(device)
    own = type(schedule).from_config(schedule.config)  # a sampler keeps its number of steps
    own.set_timesteps(steps)
    was_training = model.training
    model.eval()
    try:
        for time in own.timesteps:
            predicted = model(images, timestep=time.to(device).expand(len(labels)), class_labels=labels).sample
            images = own.step(predicted, time, images).prev_sample
    finally:
        model.train(was_training)
    return images.clamp(-1, 1).cpu().view(len(characters), each, 1, IMAGE_SIZE, IMAGE_SIZE)


@dataclass(frozen=True)
class SampleScores:
    """How many of the images are right.

    Attributes:
        content: the share that glyph-vit, the base of the digits, classifies as the character, over all 36 logits.
        style: the share that the face classifier takes for hatched.
        both: the share that is right in both.
    """

    content: float
    style: float
    both: float


@torch.no_grad()
def score_samples(
    images: Float[Tensor, "characters each 1 16 16"], characters: Sequence[str] | str, face: nn.Module
) -> SampleScores:
    """What two classifiers say of images.

    Args:
        images: as `sample_glyphs` returns them.
        characters: what was asked for.
        face: as `coto_lab.probes.face_classifier.load_face_classifier` returns it.
    """
    content, style = right_content(images, characters), right_style(images, face)
    means = (each.double().mean().item() for each in (content, style, content & style))
    return SampleScores(*means)


@torch.no_grad()
def right_content(
    images: Float[Tensor, "characters each 1 16 16"], characters: Sequence[str] | str
) -> Bool[Tensor, "characters each"]:
    """Whether glyph-vit classifies each image as the character that was asked for."""
    asked = torch.tensor([CLASSES.index(character) for character in characters])
    if len(asked) != len(images):
        raise ValueError(f"there are images of {len(images)} characters, and {len(asked)} were asked for: {characters!r}.")
    said = load_glyph_vit().eval()(pixel_values=images.flatten(0, 1)).logits.argmax(-1)
    return said.view(images.shape[:2]) == asked[:, None]


@torch.no_grad()
def right_style(images: Float[Tensor, "characters each 1 16 16"], face: nn.Module) -> Bool[Tensor, "characters each"]:
    """Whether the face classifier takes each image for hatched."""
    return (face(images.flatten(0, 1)) > 0).view(images.shape[:2])
