"""Write the folder of the playground, where the model runs in the browser: ``python pages/playground.py --out FOLDER``.

Then ``python -m http.server --directory FOLDER`` serves it. ``pages/build.py`` puts the same folder in front of the site, whose
other pages the footer links to. The page reads the real files of the base and of the adapters; this script copies them, and
writes the test images and the numbers of the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from colab import repository
from playground_figures import figures
from torch.nn import functional as F

from coto_lab.studies.gallery import SEEDS, SWEPT, run_name
from coto_lab.tasks.digits import COUNTS, INK, handwritten_digits
from coto_lab.tasks.glyphs import IMAGE_SIZE

ROOT = Path(__file__).parents[1]
PAD = "coto_lab/widgets/pad.js"  # the notebooks' widget has the same drawing pad
MODEL = ("config.json", "model.safetensors")
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
DIGITS = "0123456789ABCDEFG"  # one for each number; JavaScript reads them with parseInt(digit, 17)


def write(root: Path, out: Path) -> None:
    """Write the playground of the repository ``root`` to the folder ``out``, which must be new or empty.

    Raises:
        FileNotFoundError: a file that the page needs is not in the repository.
        ValueError: ``out`` has files already, or an image has other numbers than 0 to 16.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"out={str(out)!r} exists and is not an empty folder. Name a new folder.")
    shutil.copytree(root / "playground", out, dirs_exist_ok=True)
    shutil.copy(root / PAD, out / "js")
    index = out / "index.html"
    index.write_text(index.read_text(encoding="utf-8").replace("{repository}", repository(root)), encoding="utf-8")
    copy(root / "data/glyph-vit", MODEL, out / "model")
    for name in (run_name(method, seed) for method in SWEPT for seed in SEEDS):
        copy(root / "data/gallery" / name, ADAPTER, out / "adapters" / name)
    write_json(out / "images.json", images())
    write_json(out / "figures.json", figures(root))


def copy(source: Path, names: tuple[str, ...], target: Path) -> None:
    """Copy the files ``names`` of a folder into another, which is made."""
    target.mkdir(parents=True)
    for name in names:
        shutil.copy(source / name, target / name)


def images() -> dict[str, list[str] | str]:
    """The test set: ``images``, each as 64 digits of `DIGITS`, and ``labels``, one digit for each image."""
    _, test = handwritten_digits()
    counts = counts_of(test["pixel_values"][:][:, 0])
    rows = ["".join(DIGITS[count] for count in image.flatten().tolist()) for image in counts]
    return {"images": rows, "labels": "".join(str(label) for label in test["labels"][:].tolist())}


def counts_of(pixels: torch.Tensor) -> torch.Tensor:
    """From the task's images ``[n, 16, 16]`` back to the numbers 0 to 16 of which they were made, int64 ``[n, 8, 8]``.

    The enlargement is linear and loses nothing, so its pseudo-inverse takes it back; rounding removes what float32 adds.
    """
    unit = torch.eye(COUNTS, dtype=torch.float64)[None, None]
    rows = F.interpolate(unit, size=(IMAGE_SIZE, COUNTS), mode="bilinear", align_corners=False)[0, 0]  # [16, 8]
    smaller = torch.linalg.pinv(rows)  # [8, 16]
    exact = smaller @ (pixels.double() + 1) / 2 * INK @ smaller.T
    counts = exact.round().long()
    if (exact - counts).abs().max() > 1e-3 or counts.min() < 0 or counts.max() > INK:
        raise ValueError("the task's images are no enlarged images of 8x8 numbers from 0 to 16: did the task change?")
    return counts


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as short as JSON can be."""
    path.write_text(json.dumps(content, separators=(",", ":"), allow_nan=False), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="where the page goes: a new or empty folder")
    options = parser.parse_args()
    write(options.root, options.out)
    print(f"python -m http.server --directory {options.out}")


if __name__ == "__main__":
    main()
