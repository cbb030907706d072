"""The sweeps over learning rates and lengths on the strings and the docstrings: their grids, and the tables of their scores.

Each grid and its seeds were fixed before the first run. LoRA and CoTo each have every point of it. The adapters of these sweeps
do not ship with the lab; ``data/make_grid_sweep.py`` makes them again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from coto_lab.ground.files import data_path, read_json
from coto_lab.studies.legs import DOCSTRINGS, STRINGS, Leg
from coto_lab.training.recipe import Recipe


def point(method: str, lr: float, steps: int) -> str:
    """The name of a point of a grid: ``"CoTo/1200/0.004"``."""
    return f"{method}/{steps}/{lr:g}"


@dataclass(frozen=True)
class GridSweep:
    """Every learning rate at every length, for LoRA and CoTo.

    Attributes:
        leg: whose tasks and recipes.
        table: the file with the scores, in the gallery.
        rates: the learning rates, in ascending order.
        lengths: optimiser steps.
        seeds: not those of the gallery.
        spacing: between two rates, in words.
    """

    leg: Leg
    table: str
    rates: tuple[float, ...]
    lengths: tuple[int, ...]
    seeds: range
    spacing: str

    def planned(self, method: str, steps: int) -> dict[str, list[Recipe]]:
        """Point -> recipes of its seeds, at all rates."""
        recipe = self.leg.methods[method]
        return {
            point(method, lr, steps): [replace(recipe, lr=lr, steps=steps, seed=seed) for seed in self.seeds]
            for lr in self.rates
        }

    def results(self) -> dict[str, Any]:
        """What the runs of the sweep scored.

        ``scores`` is task -> `point` -> ``alone``: test accuracy in % of every seed; ``loss``: in nats; ``steps`` taken before
        a loss was not finite; and ``fused``: test accuracy in % of all pairs of seeds, fused 1:1. ``about`` is the machine and
        the versions that it was made with.
        """
        return read_json(data_path("gallery", self.table))


STRING_SWEEP = GridSweep(
    STRINGS,
    table="string_sweep.json",
    rates=tuple(round(0.002 * 2 ** (k / 2), 5) for k in range(9)),  # up to 0.032
    lengths=(300, 600, 1200),
    seeds=range(5, 10),
    spacing="halves of a doubling",
)
DOCSTRING_SWEEP = GridSweep(
    DOCSTRINGS,
    table="docstring_sweep.json",
    rates=(0.001, 0.002, 0.004, 0.008, 0.016),
    lengths=(200,),
    seeds=range(5, 10),
    spacing="doublings",
)
GRID_SWEEPS = {sweep.leg.name: sweep for sweep in (STRING_SWEEP, DOCSTRING_SWEEP)}
