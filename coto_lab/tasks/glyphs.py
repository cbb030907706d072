"""Printed glyphs: the 36 classes 0-9 and A-Z that the embedded base model was pre-trained to read.

The prints are rendered from the TrueType fonts that matplotlib bundles, so no download is needed. Jitter (a small
random affine map, contrast and noise) is drawn anew for every batch: pre-training never sees the same image twice.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

CLASSES = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
IMAGE_SIZE = 16

TRAIN_FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSansMono", "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic", "STIXGeneral",
    "STIXGeneralBol", "STIXGeneralBolIta", "STIXGeneralItalic", "cmr10", "cmb10", "cmtt10",
)  # fmt: skip
HELD_OUT_FONTS = ("DejaVuSans-Oblique", "DejaVuSerif-Italic", "cmss10")

_CANVAS = 64  # pixels of the clean print from which the jittered images are sampled
_CAP_HEIGHT = 42  # pixels that a capital H takes on that canvas


@cache
def render_prints(fonts: tuple[str, ...]) -> Tensor:
    """Clean prints, one per font and class: float32 ``[fonts, 36, 64, 64]``, ink 1 on paper 0, centred by bounding box.

    Glyphs keep their relative sizes (only the font's capital height is normalised), which is what tells 0 from O.
    """
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    prints = np.zeros((len(fonts), len(CLASSES), _CANVAS, _CANVAS), dtype=np.float32)
    for i, name in enumerate(fonts):
        _, top, _, bottom = ImageFont.truetype(folder / f"{name}.ttf", 100).getbbox("H")
        font = ImageFont.truetype(folder / f"{name}.ttf", round(100 * _CAP_HEIGHT / (bottom - top)))
        for j, character in enumerate(CLASSES):
            left, top, right, bottom = font.getbbox(character)
            image = Image.new("L", (_CANVAS, _CANVAS))
            corner = ((_CANVAS - left - right) / 2, (_CANVAS - top - bottom) / 2)
            ImageDraw.Draw(image).text(corner, character, fill=255, font=font)
            prints[i, j] = np.asarray(image, dtype=np.float32) / 255
    return torch.from_numpy(prints)


def jitter(prints: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Photograph clean prints ``[n, 64, 64]`` under a random small affine map: float32 ``[n, 1, 16, 16]`` in [-1, 1].

    At strength 1 the map turns by up to 12 degrees, shears by up to 0.2, scales by 0.85 to 1.2 and shifts by up to
    1.5 of the 16 pixels; contrast falls to between 0.6 and 1 and Gaussian noise of deviation 0.05 is added.
    """
    n = len(prints)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    angle = torch.deg2rad(uniform(-12, 12)) * strength
    shear = uniform(-0.2, 0.2) * strength
    zoom = 1 / (1 + uniform(-0.15, 0.2) * strength)
    shift = torch.stack([uniform(-1.5, 1.5), uniform(-1.5, 1.5)], dim=1) * strength * 2 / IMAGE_SIZE
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    theta = torch.stack(
        [torch.stack([cos, shear * cos - sin, shift[:, 0]], 1), torch.stack([sin, shear * sin + cos, shift[:, 1]], 1)],
        dim=1,
    )  # [n, 2, 3]
    grid = F.affine_grid(theta, [n, 1, 2 * IMAGE_SIZE, 2 * IMAGE_SIZE], align_corners=False)
    images = F.avg_pool2d(F.grid_sample(prints[:, None], grid, align_corners=False), 2)  # [n, 1, 16, 16]
    contrast = 1 - 0.4 * strength * torch.rand(n, 1, 1, 1, generator=generator)
    noise = 0.05 * strength * torch.randn(images.shape, generator=generator)
    return (images * contrast + noise).clamp(0, 1) * 2 - 1


def sample_prints(fonts: tuple[str, ...], n: int, generator: torch.Generator, strength: float = 1.0) -> tuple[Tensor, Tensor]:
    """Draw ``n`` jittered prints with their labels: images ``[n, 1, 16, 16]`` in [-1, 1], int64 labels ``[n]``."""
    prints = render_prints(fonts)
    font = torch.randint(len(fonts), (n,), generator=generator)
    label = torch.randint(len(CLASSES), (n,), generator=generator)
    return jitter(prints[font, label], generator, strength), label
