"""The sweep over learning rates: its runs, and the table of their scores.

The grid and the seeds were fixed before the first run. The reason for this sweep was that an earlier one
(`coto_lab.studies.gallery.RATES`) had gone from 0.02 to 0.04 in one step and had no rates between the two. The 300 adapters of
this sweep do not ship with the lab; ``data/make_rate_sweep.py`` makes them again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from coto_lab.ground.files import data_path, read_json
from coto_lab.studies.gallery import METHODS, SWEPT
from coto_lab.training.recipe import Recipe

TABLE = "rate_sweep.json"
LOW_RATES = (1e-3, 2.5e-3, 5e-3)
RATES = tuple(round(0.01 * 2 ** (k / 4), 4) for k in range(9))  # from 0.01 to 0.04 in steps of a quarter of a doubling
SEEDS = range(5, 10)  # new seeds, because runs with the gallery's seeds, 0 to 4, had been looked at when the grid was fixed
# Common ways to keep a training stable. By default, transformers' Trainer clips gradients at a norm of 1.
SAFEGUARDS: dict[str, dict[str, Any]] = {
    "none": {},
    "clipping": {"max_grad_norm": 1.0},
    "warm-up": {"warmup_steps": 80},
}


def swept_rates(safeguard: str) -> tuple[float, ...]:
    """The learning rates at which a key of `SAFEGUARDS` was tried; the low rates were tried without safeguards only."""
    return LOW_RATES + RATES if safeguard == "none" else RATES


def sweep_name(safeguard: str, method: str, lr: float, seed: int) -> str:
    """The name of a run: ``"clipping/coto-lr0.0238-seed5"``."""
    return f"{safeguard}/{method.lower()}-lr{lr:g}-seed{seed}"


def fused_name(safeguard: str, method: str, lr: float) -> str:
    """The common name of all fusions of two seeds: ``"clipping/CoTo/0.0238"``."""
    return f"{safeguard}/{method}/{lr:g}"


def planned_sweep() -> dict[str, Recipe]:
    """Name -> recipe of every run of the sweep."""
    return {
        sweep_name(safeguard, method, lr, seed): replace(METHODS[method], lr=lr, seed=seed, **settings)
        for safeguard, settings in SAFEGUARDS.items()
        for lr in swept_rates(safeguard)
        for method in SWEPT
        for seed in SEEDS
    }


def rate_sweep() -> dict[str, Any]:
    """The results of the sweep.

    ``runs`` is name -> recipe, test ``accuracy`` in % and ``loss`` in nats, ``steps`` taken before a loss was not finite,
    ``course`` (training loss and gradient norm before clipping, as means over every 20 steps) and the adapter's SHA-256.
    ``fused`` is name (`fused_name`) -> test accuracy in % of all ten pairs of seeds, fused 1:1.
    """
    return read_json(data_path("gallery", TABLE))
