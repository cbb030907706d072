"""Train and score a sweep over learning rates and lengths: ``python data/make_grid_sweep.py strings``, or ``docstrings``.

The grids are in `coto_lab.studies.grid_sweep`. A task, a method and a length are a part; its scores are written to ``--parts``
as soon as they are there, and parts that are already there are not trained again. A file in ``data/gallery`` joins all
parts. On a GPU, all runs of a part go through the base model together, and the parts side by side (``--jobs 18``): on the
strings 301 s on an NVIDIA H200 with 16 CPU cores. On two CPU cores the strings take hours.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed

from coto_lab import Evaluator, Variant, fit_many, load_task, merge
from coto_lab.ground.device import default_device
from coto_lab.ground.files import read_json, write_file
from coto_lab.ground.versions import version_of
from coto_lab.studies.gallery import SWEPT
from coto_lab.studies.grid_sweep import GRID_SWEEPS, GridSweep

_ROWS = {"cpu": 10, "cuda": 45}  # runs that share the base model


def measure(sweep: GridSweep, name: str, method: str, steps: int) -> dict[str, Any]:
    """Train all runs of a method on a task at a length: point -> scores."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="the loss of")  # a rate that is too high is a result here: see "steps"
    started = time.perf_counter()
    task, planned = load_task(name), sweep.planned(method, steps)
    recipes = [recipe for own in planned.values() for recipe in own]
    runs = fit_many(task, recipes, max_rows=_ROWS.get(default_device().type, 10), progress=False)
    print(f"{name}, {method}, {steps} steps: {len(runs)} runs in {time.perf_counter() - started:.0f} s", flush=True)
    evaluator, found = Evaluator(task), {}
    for place, point in enumerate(planned):
        own = runs[len(sweep.seeds) * place : len(sweep.seeds) * (place + 1)]
        fused = [merge([a.adapter, b.adapter]) for a, b in combinations(own, 2)]
        scores = evaluator([Variant(adapter) for adapter in [*(run.adapter for run in own), *fused]])
        accuracy = [round(100 * value, 4) for value in scores.accuracy.tolist()]
        found[point] = {
            "alone": accuracy[: len(own)],
            "loss": [round(value, 6) for value in scores.loss[: len(own)].tolist()],
            "steps": [len(run.history) for run in own],
            "fused": accuracy[len(own) :],
        }
    print(f"{name}, {method}, {steps} steps: scored after {time.perf_counter() - started:.0f} s", flush=True)
    return found


def make_part(sweep: GridSweep, name: str, method: str, steps: int, folder: Path) -> None:
    path = folder / f"{name.replace('/', '-')}-{method}-{steps}.json"
    if path.exists():
        return
    content = json.dumps({"task": name, "scores": measure(sweep, name, method, steps)}, separators=(",", ":")) + "\n"
    write_file(path, lambda place: place.write_text(content))


def main() -> None:
    root = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("leg", choices=list(GRID_SWEEPS), help="whose sweep")
    parser.add_argument("--parts", type=Path, help="folder of the parts")
    parser.add_argument("--out", type=Path, help="the table; without it, that of the gallery is written")
    parser.add_argument("--jobs", type=int, default=2, help="parts that are made side by side")
    arguments = parser.parse_args()
    sweep = GRID_SWEEPS[arguments.leg]
    folder = arguments.parts or root.parent / "runs" / f"{arguments.leg}-sweep"
    folder.mkdir(parents=True, exist_ok=True)
    parts = [(name, method, steps) for steps in reversed(sweep.lengths) for name in sweep.leg.tasks for method in SWEPT]
    Parallel(n_jobs=arguments.jobs)(delayed(make_part)(sweep, *part, folder) for part in parts)
    scores: dict[str, Any] = {name: {} for name in sweep.leg.tasks}
    for path in sorted(folder.glob("*.json")):
        part = read_json(path)
        scores[part["task"]] |= part["scores"]
    versions = {name: version_of(name) for name in ("coto_lab", "torch", "transformers", "peft")}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    about = {"format": 1, "device": device, "versions": versions, "base": load_task(sweep.leg.tasks[0]).base}
    content = json.dumps({"about": about, "scores": scores}, separators=(",", ":")) + "\n"
    write_file(arguments.out or root / "gallery" / sweep.table, lambda path: path.write_text(content))


if __name__ == "__main__":
    main()
