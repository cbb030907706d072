"""Content and style on the diffusion model of glyphs: what is trained, how it is merged, and what is sampled.

A content adapter draws six characters that the base has never seen; a style adapter draws the others in a hatched face. Merged,
they are to draw the six characters hatched, which no training image shows. Samples are scored by the base of the digits
(content) and by a face classifier (style).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxtyping import Float, UInt8
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.gating.schedules import Constant, Linear
from coto_lab.ground.files import data_path, read_json, read_tensors
from coto_lab.merging.ensemble import Ensemble
from coto_lab.merging.merge import merge
from coto_lab.merging.rule import Rule
from coto_lab.merging.task_arithmetic import TaskArithmetic
from coto_lab.merging.zip import Zip
from coto_lab.probes.glyph_sampling import sample_glyphs
from coto_lab.studies.gallery import check_files, load_half
from coto_lab.tasks.diffuser import load_diffuser, load_noise_schedule
from coto_lab.tasks.glyph_diffusion import CONTENT, NEW_CHARACTERS, STYLE
from coto_lab.training.recipe import Recipe

TABLE = "diffusion.json"
FOLDER = "diffusion"
WAYS = ("LoRA", "CoTo")
SEEDS = range(5)
STORED_SEED = 0  # the one whose adapters ship
SWEEP_SEED = 5  # of the sweep over learning rates
PARTS: Mapping[str, str] = {"content": CONTENT, "style": STYLE}
RECIPE = Recipe(r=8, alpha=16, steps=200, batch_size=16)  # of plain LoRA, but for the learning rate, which a sweep chooses
RULES: Mapping[str, Rule | Zip] = {
    "ensemble": Ensemble(),
    "sum": TaskArithmetic(1.0),
    # Distances between velocities are near 0.1; with the usual penalty of 0.01, the overlap would outweigh them from the start.
    "zip": Zip(steps=60, lr=2e-2, start=1.0, penalty=1e-4),
}
STORED = (*PARTS, "zip")
SAMPLES = "samples.safetensors"  # in the folder of the adapters: what `sampled_rows` drew, for places without diffusers
EACH = 10  # samples of each character
SAMPLE_SEED = 100  # the noise of the samples: the same for every model


def recipe_of(way: str, lr: float, seed: int) -> Recipe:
    """The recipe of one adapter, ``"LoRA"`` or ``"CoTo"``."""
    return replace(RECIPE, schedule=Linear() if way == "CoTo" else Constant(), lr=lr, seed=seed)


def adapter_name(part: str, way: str) -> str:
    """The folder of an adapter in the gallery: ``"diffusion/content/coto"``."""
    return f"{FOLDER}/{part}/{way.lower()}"


def table() -> dict[str, Any]:
    """What was measured; ``data/make_glyph_diffusion_runs.py`` says what it holds."""
    return read_json(data_path("gallery", TABLE))


def load_stored(part: str, way: str) -> Adapter:
    """An adapter of one seed: ``"content"``, ``"style"``, or ``"zip"``, which is the two merged by learned coefficients.

    Raises:
        ValueError: there is no such part or way, or a file is missing or differs from the one that was made.
    """
    if part not in STORED or way not in WAYS:
        raise ValueError(f"part={part!r}, way={way!r}: there is {', '.join(map(repr, STORED))}, with 'LoRA' or 'CoTo'.")
    own, name = table(), adapter_name(part, way)
    folder = data_path("gallery") / name
    check_files(
        {folder / file: expected for file, expected in own["sha256"][name].items()},
        make="python data/make_glyph_diffusion_runs.py",
    )
    return load_half(folder, own["base"])


def sampled_rows(way: str, *, seed: int = SAMPLE_SEED) -> dict[str, Float[Tensor, "characters 1 1 16 16"]]:
    """One image of each new character by the base, by either stored adapter, and by every merge of them; a few seconds.

    Args:
        way: ``"LoRA"`` or ``"CoTo"``.
        seed: of the noise that all images begin with.

    Raises:
        ValueError: as for `load_stored`.
    """
    pair = {part: load_stored(part, way) for part in PARTS}
    merges = {
        name: load_stored(name, way) if isinstance(how, Zip) else merge(list(pair.values()), how) for name, how in RULES.items()
    }
    schedule, rows = load_noise_schedule(), {}
    for name, adapter in {"base": None, **pair, **merges}.items():
        model = load_diffuser() if adapter is None else adapter.attach(load_diffuser())
        rows[name] = sample_glyphs(model, schedule, NEW_CHARACTERS, seed=seed)
    return rows


def stored_rows(way: str) -> dict[str, Float[Tensor, "characters 1 1 16 16"]]:
    """What `sampled_rows` drew when the adapters were made, to 256 shades; diffusers is not needed.

    Args:
        way: ``"LoRA"`` or ``"CoTo"``.

    Raises:
        ValueError: there is no such way, or the file is missing or differs from the one that was made.
    """
    if way not in WAYS:
        raise ValueError(f"way={way!r}: there is {' and '.join(map(repr, WAYS))}.")
    file = data_path("gallery") / FOLDER / SAMPLES
    check_files({file: table()["sha256"][FOLDER][SAMPLES]}, make="python data/make_glyph_diffusion_runs.py")
    shades = {key: rows for key, rows in read_tensors(file)[0].items() if key.startswith(f"{way}/")}
    names = ("base", *PARTS, *RULES)
    return {name: shades[f"{way}/{name}"].float() / 127.5 - 1 for name in names}


def in_shades(rows: Float[Tensor, " *shape"]) -> UInt8[Tensor, " *shape"]:
    """Images in [-1, 1] as 256 shades of grey."""
    return ((rows.clamp(-1, 1) + 1) * 127.5).round().byte()
