"""The gallery: finished runs that ship with the lab, so that a notebook does not have to train all runs that it compares.

Of the digits, it has whole runs. Of the other legs, it has the adapters alone, in half precision, and the manifest has each
block's share of the gradient: with their histories, all runs together would take more than twice the space.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coto_lab.adapters.adapter import Adapter
from coto_lab.ground.files import data_path, read_json, sha256
from coto_lab.studies.legs import DIGITS, LEGS
from coto_lab.tasks.embedded import WEIGHTS
from coto_lab.training.recipe import Recipe
from coto_lab.training.run import Run

if TYPE_CHECKING:
    import pandas as pd

METHODS = DIGITS.methods
SEEDS = range(5)
SWEPT = ("LoRA", "CoTo")
RATES = (1e-3, 2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2)  # learning rates of the sweep; one of them is the rate of METHODS
MANIFEST = "manifest.json"
GRADIENT = "gradient.json"  # in a run's folder


def run_name(method: str, seed: int, lr: float | None = None, task: str = "digits") -> str:
    """The folder of a run.

    This is ``"coto-sine-seed1"`` for the digits, ``"sweep/coto-lr0.02-seed1"`` for a run of their sweep over rates, and
    ``"strings/sort-descending/coto-sine-seed1"`` or ``"docstrings/coto-sine-seed1"`` for another task.
    """
    name = method.lower().replace(" ", "-")
    if lr is not None:
        return f"sweep/{name}-lr{lr:g}-seed{seed}"
    return f"{name}-seed{seed}" if task == "digits" else f"{task}/{name}-seed{seed}"


def task_of(name: str) -> str:
    """The task of a run, by the run's name."""
    folder = name.rpartition("/")[0]
    return "digits" if folder in ("", "sweep") else folder


def planned_runs() -> dict[str, Recipe]:
    """Name -> recipe of all runs in the gallery, including the sweep."""
    runs: dict[str, Recipe] = {}
    for leg in LEGS.values():
        for task in leg.tasks:
            for method, recipe in leg.methods.items():
                runs |= {run_name(method, seed, task=task): replace(recipe, seed=seed) for seed in SEEDS}
    for method in SWEPT:
        for lr in RATES:
            if lr != METHODS[method].lr:
                runs |= {run_name(method, seed, lr): replace(METHODS[method], seed=seed, lr=lr) for seed in SEEDS}
    return runs


def load_run(name: str) -> Run:
    """A finished run of the digits, e.g. ``"coto-seed1"``; ``data/make_gallery.py`` made these runs.

    Raises:
        ValueError: there is no such run, and the message lists the existing ones; or a file differs from the one that was
            made.
    """
    names = [known for known in manifest()["runs"] if "/" not in known]
    if name not in names:
        raise ValueError(f"name={name!r}: no such run in the gallery; there is {', '.join(names)}.")
    return Run.load(checked_folder(name))


def load_runs(method: str) -> list[Run]:
    """The runs on the digits of all seeds of a method, which is a key of `METHODS`.

    Raises:
        ValueError: there is no such method, or a file differs from the one that was made.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r}: not in the gallery; there is {', '.join(map(repr, METHODS))}.")
    return [load_run(run_name(method, seed)) for seed in SEEDS]


def load_adapters(method: str, task: str = "digits") -> list[Adapter]:
    """The adapters of all seeds of a method on a task of the gallery, such as ``"strings/sort-descending"``.

    Raises:
        ValueError: there is no such method or task, or a file differs from the one that was made.
    """
    if task in DIGITS.tasks:
        return [run.adapter for run in load_runs(method)]
    leg = next((leg for leg in LEGS.values() if task in leg.tasks), None)
    if leg is None or method not in leg.methods:
        known = ", ".join(repr(name) for own in LEGS.values() for name in own.tasks)
        methods = ", ".join(map(repr, METHODS))
        raise ValueError(f"method={method!r}, task={task!r}: not in the gallery; it has the methods {methods} on {known}.")
    base = manifest()["base"][f"{leg.base}/{WEIGHTS}"]
    return [load_half(checked_folder(run_name(method, seed, task=task)), base) for seed in SEEDS]


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
    """The contents of the gallery: ``runs`` (name -> recipe, test accuracy and loss, SHA-256 of every file), ``versions``.

    Runs of all legs but the digits have ``gradient``, too: ``"step"`` or ``"open step"`` -> each block's share of the gradient
    norm over the training, and their entropy, as `coto_lab.probes.gradients.gradient_balance` gives them.
    """
    return read_json(data_path("gallery", MANIFEST))


def evidence() -> dict[str, Any]:
    """Every number behind ``EVIDENCE.md``, as ``make evidence`` measured it.

    The topics of the digits are at the top level, those of another leg under its name, and ``"claims"`` is about all legs.
    """
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
    check_files({folder / file: expected for file, expected in runs[name]["sha256"].items()})
    return folder


def check_files(expected: Mapping[Path, str], make: str = "make gallery") -> None:
    """Compare files with their SHA-256 hashes.

    Args:
        expected: file -> hash.
        make: the command that makes the files again.

    Raises:
        ValueError: a file is missing or differs.
    """
    for file, own in expected.items():
        found = sha256(file) if file.exists() else "missing"
        if found != own:
            raise ValueError(
                f"{str(file)!r} is not the file that the gallery was made with (SHA-256 {found[:12]}, expected {own[:12]}). "
                f"Restore it from the repository, or make it again: {make}."
            )


def in_half(adapter: Adapter) -> Adapter:
    """The adapter as the gallery stores it where it ships without its history: in half precision."""
    half = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in adapter.tensors.items()}
    return replace(adapter, tensors=half)


def load_half(folder: Path, base: str) -> Adapter:
    """An adapter that was stored in half precision and without its base, as float32.

    Args:
        folder: of the adapter.
        base: identity of the base model it was trained on.
    """
    adapter = Adapter.load(folder)
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in adapter.tensors.items()}
    return replace(adapter, tensors=tensors, base=base)


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
