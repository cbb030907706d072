"""The sweep over learning rates and lengths on the strings: its grid, and the table of its scores.

The grid and the seeds were fixed before the first run. LoRA and CoTo each have every point of the grid. The adapters of this
sweep do not ship with the lab; ``data/make_string_sweep.py`` makes them again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from coto_lab.ground.files import data_path, read_json
from coto_lab.studies.legs import STRINGS
from coto_lab.training.recipe import Recipe

TABLE = "string_sweep.json"
RATES = tuple(round(0.002 * 2 ** (k / 2), 5) for k in range(9))  # from 0.002 to 0.032 in steps of half a doubling
LENGTHS = (300, 600, 1200)  # steps
SEEDS = range(5, 10)  # not the gallery's seeds


def point(method: str, lr: float, steps: int) -> str:
    """The name of a point of the grid: ``"CoTo/1200/0.004"``."""
    return f"{method}/{steps}/{lr:g}"


def planned_string_sweep(method: str, steps: int) -> dict[str, list[Recipe]]:
    """Point -> recipes of its seeds, at all rates."""
    return {
        point(method, lr, steps): [replace(STRINGS.methods[method], lr=lr, steps=steps, seed=seed) for seed in SEEDS]
        for lr in RATES
    }


def string_sweep() -> dict[str, Any]:
    """The results of the sweep.

    ``scores`` is task -> `point` -> ``alone``: test accuracy in % of every seed; ``loss``: in nats; ``steps`` taken before a
    loss was not finite; and ``fused``: test accuracy in % of all ten pairs of seeds, fused 1:1. ``about`` is the machine and
    the versions that it was made with.
    """
    return read_json(data_path("gallery", TABLE))
