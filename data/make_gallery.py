"""Train the gallery, and score it: ``python data/make_gallery.py``.

The script trains five seeds of every method on the digits, on three tasks on strings and on the docstrings, and on the digits
also of LoRA and CoTo at every learning rate of the sweep (`coto_lab.studies.gallery`). Runs that are already in ``--out`` are
not trained again; with another folder (``--out runs/gallery``) all runs are trained. ``manifest.json`` lists every run with its
recipe, scores and hashes. ``scores.json`` is the table that the tour and the README quote.

``--backend dask --address tcp://HOST:8786`` or ``--backend ray --address auto`` trains on the workers of a cluster. Runs that
share a base model are then grouped by the number of workers, so their weights differ from those here by rounding.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import parallel_config

from coto_lab import Adapter, Evaluator, Recipe, Run, Task, Variant, fit_many, interpolate, load_task, merge, prune
from coto_lab.ground.files import new_folder, read_json, sha256, write_file
from coto_lab.ground.versions import version_of
from coto_lab.probes.gradients import PER, gradient_balance, gradient_share
from coto_lab.studies.gallery import GRADIENT, MANIFEST, SEEDS, SWEPT, in_half, planned_runs, run_name, task_of
from coto_lab.studies.legs import LEGS
from coto_lab.tasks.embedded import WEIGHTS
from coto_lab.training.jobs import workers

_TOGETHER = 10  # runs that a worker, or this process, trains at once, and that are lost if the script is interrupted


@contextmanager
def cluster(backend: str | None, address: str | None) -> Iterator[None]:
    """Within it, `fit_many` has its runs trained by the workers of a cluster; without an address, of one on this machine."""
    if backend == "dask":
        from distributed import Client

        with Client(address) if address else Client(threads_per_worker=1), parallel_config(backend="dask"):
            yield
    elif backend == "ray":
        import ray
        from ray.util.joblib import register_ray

        with ray.init(address=address):
            register_ray()
            with parallel_config(backend="ray"):
                yield
    else:
        yield


def train_missing(task: Task, out: Path) -> None:
    """Train the runs of a task that are not in ``out`` yet.

    A run of the sweep is stored without its history, which needs most space; so is a run of another leg, in half precision.
    """
    planned = {name: recipe for name, recipe in planned_runs().items() if task_of(name) == task.name}
    missing = {name: recipe for name, recipe in planned.items() if not (out / name).exists()}
    names = sorted(missing, key=lambda name: missing[name].dropout)  # runs that can share a base model come together
    together = _TOGETHER * (workers(None) or 1)
    for start in range(0, len(names), together):
        chosen = names[start : start + together]
        print(f"training {', '.join(chosen)}", flush=True)
        for name, run in zip(chosen, fit_many(task, [missing[name] for name in chosen], progress=False), strict=True):
            if "/" not in name:
                run.save(out / name)
                continue
            adapter = run.adapter
            if task.name != "digits":
                adapter = in_half(adapter)
            with new_folder(out / name) as folder:
                adapter.save(folder)
                if task.name != "digits":
                    (folder / GRADIENT).write_text(json.dumps(gradient(run), indent=1) + "\n")


def gradient(run: Run) -> dict[str, dict[str, Any]]:
    """Each block's share of the gradient norm over the training, and the entropy, per step and per open step."""
    balances = {per: gradient_balance(run.history, per=per) for per in PER}
    return {
        per: {"share": [round(share, 6) for share in found.overall.tolist()], "entropy": round(found.entropy, 6)}
        for per, found in balances.items()
    }


def loaded(task: Task, name: str, recipe: Recipe, out: Path) -> Adapter:
    """The adapter of a run in ``out``; SystemExit if the run has another recipe or base."""
    if "/" in name:
        return Adapter.load(out / name)
    run = Run.load(out / name)
    if (run.recipe, run.base) != (recipe, task.base):
        raise SystemExit(f"{out / name} was made by another recipe or base model: delete it, or choose another --out.")
    return run.adapter


def write_manifest(tasks: dict[str, Task], out: Path) -> None:
    """Write recipe, scores and hashes of every run, and the versions of the packages that made the runs."""
    recipes = planned_runs()
    runs: dict[str, dict[str, Any]] = {}
    for task in tasks.values():
        own = {name: recipe for name, recipe in recipes.items() if task_of(name) == task.name}
        scores = Evaluator(task)([Variant(loaded(task, name, recipe, out), name=name) for name, recipe in own.items()])
        for (name, recipe), accuracy, loss in zip(own.items(), scores.accuracy.tolist(), scores.loss.tolist(), strict=True):
            runs[name] = {
                "recipe": recipe.to_json(),
                "seed": recipe.seed,
                "accuracy": round(accuracy, 6),
                "loss": round(loss, 6),
                "sha256": {path.name: sha256(path) for path in sorted((out / name).iterdir())},
            }
            if (found := out / name / GRADIENT).exists():
                runs[name]["gradient"] = read_json(found)
    versions = {name: version_of(name) for name in ("coto_lab", "torch", "transformers", "peft")}
    base = {f"{leg.base}/{WEIGHTS}": tasks[leg.tasks[0]].base for leg in LEGS.values()}
    content = {
        "format": 2,
        "tasks": list(tasks),
        "base": base,
        "versions": versions,
        "runs": {name: runs[name] for name in recipes},
    }
    write_file(out / MANIFEST, lambda path: path.write_text(json.dumps(content, indent=1) + "\n"))


def score(task: Task, runs: list[Run], evaluator: Evaluator) -> Iterator[tuple[str, float]]:
    """Name and value (from 0 to 1) of every score of one method's seeds."""
    tables = [prune(task, run, evaluator=evaluator).frame().set_index("pattern")["accuracy"] for run in runs]
    for table in tables:
        yield "all adapters", table["all"]
    pairs = list(combinations(runs, 2))
    for how in ("fuse", "ensemble"):
        for pair in pairs:
            name = {"fuse": "1:1 fusion of two seeds", "ensemble": "1:1 ensemble of two seeds"}[how]
            yield name, interpolate(task, *pair, alphas=[0, 0.5, 1], how=how, evaluator=evaluator).accuracy[1].item()
    # A fusion is 1/4 of each run's own update plus 1/4 of the two cross terms. Here only the own updates are scored.
    quarters = [Variant(merge([a.adapter, b.adapter], "ensemble", [0.25, 0.25])) for a, b in pairs]
    for accuracy in evaluator(quarters).accuracy.tolist():
        yield "fusion without cross terms", accuracy
    for pattern in tables[0].index.drop(["all", "none"]):
        for table in tables:
            yield f"kept: {pattern}", table[pattern]
    for run in runs:
        last_quarter = gradient_share(run.history.grad_norm, run.recipe.steps, bins=4)[:, -1]
        yield "block 0's gradient share", last_quarter[0].item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "gallery", help="folder of the runs")
    parser.add_argument("--backend", choices=["dask", "ray"], help="train on a cluster; without it, here")
    parser.add_argument("--address", help="of the cluster; without it, one is started on this machine")
    arguments = parser.parse_args()
    out = arguments.out
    tasks = {name: load_task(name) for leg in LEGS.values() for name in leg.tasks}
    with cluster(arguments.backend, arguments.address):
        for task in tasks.values():
            train_missing(task, out)
    write_manifest(tasks, out)
    task = tasks["digits"]
    evaluator = Evaluator(task)
    rows = []
    for method in SWEPT:
        runs = [Run.load(out / run_name(method, seed)) for seed in SEEDS]
        rows += [(name, method, 100 * value) for name, value in score(task, runs, evaluator)]
    scores = pd.DataFrame(rows, columns=["score", "method", "value"])
    table = scores.groupby(["score", "method"], sort=False)["value"].agg(["mean", "std", "min", "max", "count"]).round(4)
    print("\nTest accuracy in %; last: share of the gradient norm in the last quarter of training, in %")
    print(f"(five seeds; where two are merged, all ten pairs)\n\n{table.to_string()}")
    content = json.dumps(table.reset_index().to_dict("records"), indent=2) + "\n"
    write_file(out / "scores.json", lambda path: path.write_text(content))


if __name__ == "__main__":
    main()
