"""The gallery: finished runs that ship with the lab, so that a notebook does not have to train all runs that it compares."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coto_lab.adapters.adapter import Adapter
from coto_lab.gating.schedules import Constant, Exponential, Linear, Sine
from coto_lab.ground.files import data_path, read_json, sha256
from coto_lab.training.recipe import Recipe
from coto_lab.training.run import Run

if TYPE_CHECKING:
    import pandas as pd

# Every method of the gallery and its recipe. The dropout probability is CLIP-LoRA's default, as in the paper.
METHODS = {
    "LoRA": Recipe(),
    "dropout": Recipe(dropout=0.25),
    "stochastic depth": Recipe(schedule=Constant(0.5)),
    "CoTo": Recipe(schedule=Linear()),
    "CoTo sine": Recipe(schedule=Sine()),
    "CoTo exponential": Recipe(schedule=Exponential()),
}
SEEDS = range(5)
SWEPT = ("LoRA", "CoTo")
RATES = (1e-3, 2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2)  # learning rates of the sweep; one of them is the rate of METHODS
MANIFEST = "manifest.json"


def run_name(method: str, seed: int, lr: float | None = None) -> str:
    """The folder of a run, ``"coto-sine-seed1"``, or of a run of the sweep over rates, ``"sweep/coto-lr0.02-seed1"``."""
    name = method.lower().replace(" ", "-")
    return f"{name}-seed{seed}" if lr is None else f"sweep/{name}-lr{lr:g}-seed{seed}"


def planned_runs() -> dict[str, Recipe]:
    """Name -> recipe of all runs in the gallery, including the sweep."""
    runs = {run_name(method, seed): replace(recipe, seed=seed) for method, recipe in METHODS.items() for seed in SEEDS}
    for method in SWEPT:
        for lr in RATES:
            if lr != METHODS[method].lr:
                runs |= {run_name(method, seed, lr): replace(METHODS[method], seed=seed, lr=lr) for seed in SEEDS}
    return runs


def load_run(name: str) -> Run:
    """A finished run of the gallery, e.g. ``"coto-seed1"``; ``data/make_gallery.py`` made these runs.

    Raises:
        ValueError: there is no such run, and the message lists the existing ones; or a file differs from the one that was
            made.
    """
    names = [known for known in manifest()["runs"] if not known.startswith("sweep/")]
    if name not in names:
        raise ValueError(f"name={name!r}: no such run in the gallery; there is {', '.join(names)}.")
    return Run.load(checked_folder(name))


def load_runs(method: str) -> list[Run]:
    """The runs of all seeds of a method, which is a key of `METHODS`.

    Raises:
        ValueError: there is no such method, or a file differs from the one that was made.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r}: not in the gallery; there is {', '.join(map(repr, METHODS))}.")
    return [load_run(run_name(method, seed)) for seed in SEEDS]


def load_sweep(method: str, lr: float) -> list[Adapter]:
    """The adapters of all seeds at a learning rate of the sweep.

    Raises:
        ValueError: there is no such method or learning rate, or a file differs from the one that was made.
    """
    if method not in SWEPT or lr not in RATES:
        raise ValueError(f"method={method!r}, lr={lr!r}: the sweep has {', '.join(SWEPT)} at {', '.join(map(str, RATES))}.")
    if lr == METHODS[method].lr:
        return [run.adapter for run in load_runs(method)]
    return [Adapter.load(checked_folder(run_name(method, seed, lr))) for seed in SEEDS]


def manifest() -> dict[str, Any]:
    """The contents of the gallery: ``runs`` (name -> recipe, test accuracy and loss, SHA-256 of every file), ``versions``."""
    return read_json(data_path("gallery", MANIFEST))


def evidence() -> dict[str, Any]:
    """Every number behind ``EVIDENCE.md``, by topic, as ``make evidence`` measured it."""
    return read_json(data_path("evidence", "evidence.json"))


def checked_folder(name: str) -> Path:
    """The folder of a run; every file in it is first compared with the manifest.

    Raises:
        ValueError: there is no such run, or a file is missing or differs from the one that was made.
    """
    runs = manifest()["runs"]
    if name not in runs:
        raise ValueError(f"name={name!r}: no such run in the gallery's manifest. To make missing runs: make gallery.")
    folder = data_path("gallery") / name
    for file, expected in runs[name]["sha256"].items():
        found = sha256(folder / file) if (folder / file).exists() else "missing"
        if found != expected:
            raise ValueError(
                f"{str(folder / file)!r} is not the file that the gallery was made with (SHA-256 {found[:12]}, expected "
                f"{expected[:12]}). Restore it from the repository, or make the gallery again: make gallery."
            )
    return folder


def gallery_scores() -> pd.DataFrame:
    """Test accuracy of LoRA and CoTo in the gallery, in %: mean ± sample standard deviation over the seeds.

    The last row is another quantity: the lowest block's share of the gradient norm in the last quarter of training, in %. There
    is one column per method, and a column n with the number of seeds, or of pairs of seeds if two runs are merged.
    """
    import pandas as pd

    rows = json.loads(data_path("gallery", "scores.json").read_text(encoding="utf-8"))
    table: dict[str, dict[str, str | int]] = {}
    for row in rows:
        line = table.setdefault(row["score"], {})
        line[row["method"]] = f"{row['mean']:.1f} ± {row['std']:.1f}"
        line["n"] = row["count"]
    frame = pd.DataFrame.from_dict(table, orient="index")
    return frame[[*frame.columns.drop("n"), "n"]]
