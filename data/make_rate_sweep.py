"""Train the sweep over learning rates, and score it: ``python data/make_rate_sweep.py``.

The 300 runs of the sweep (`coto_lab.studies.rate_sweep`) are written to ``--runs`` and do not ship. Runs that are already there
are not trained again. ``data/gallery/rate_sweep.json`` ships: it has recipe, scores, course and hash of every run, and the
scores of the fusions.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from coto_lab import Evaluator, Run, Task, Variant, fit_many, load_task, merge
from coto_lab.ground.files import sha256, write_file
from coto_lab.ground.versions import version_of
from coto_lab.studies.gallery import SWEPT
from coto_lab.studies.rate_sweep import SAFEGUARDS, SEEDS, TABLE, fused_name, planned_sweep, sweep_name, swept_rates

_TOGETHER = 10  # runs that are trained at once, and that are lost if the script is interrupted
_STEPS = 20  # training steps in one point of a run's course


def train_missing(task: Task, out: Path) -> None:
    """Train the runs that are not in ``out`` yet."""
    missing = {name: recipe for name, recipe in planned_sweep().items() if not (out / name).exists()}
    names = list(missing)
    for start in range(0, len(names), _TOGETHER):
        chosen = names[start : start + _TOGETHER]
        print(f"training {', '.join(chosen)}", flush=True)
        for name, run in zip(chosen, fit_many(task, [missing[name] for name in chosen], progress=False), strict=True):
            run.save(out / name)


def course(run: Run) -> dict[str, list[float]]:
    """Means over every 20 steps of the training loss, and of the gradient norm over all adapters before clipping."""
    columns = {"loss": run.history.loss, "grad_norm": run.history.module_grad_norm.double().norm(dim=1)}
    return {name: [round(part.mean().item(), 5) for part in column.split(_STEPS)] for name, column in columns.items()}


def score(task: Task, out: Path) -> dict[str, Any]:
    """The scores of every run, and of all pairs of seeds fused 1:1."""
    evaluator = Evaluator(task)
    recipes, runs, fused = planned_sweep(), {}, {}
    for safeguard in SAFEGUARDS:
        for lr in swept_rates(safeguard):
            for method in SWEPT:
                names = [sweep_name(safeguard, method, lr, seed) for seed in SEEDS]
                found = [Run.load(out / name) for name in names]
                if [(run.recipe, run.base) for run in found] != [(recipes[name], task.base) for name in names]:
                    raise SystemExit(
                        f"{out} has runs like {names[0]} of another recipe or base: delete them, or choose another --runs."
                    )
                pairs = list(combinations([run.adapter for run in found], 2))
                variants = [Variant(run.adapter) for run in found] + [Variant(merge(pair)) for pair in pairs]
                scores = evaluator(variants)
                accuracy = [round(100 * value, 4) for value in scores.accuracy.tolist()]
                for name, run, own, loss in zip(names, found, accuracy, scores.loss.tolist(), strict=False):
                    runs[name] = {
                        "recipe": run.recipe.to_json(),
                        "accuracy": own,
                        "loss": round(loss, 6),
                        "steps": len(run.history),
                        "course": course(run),
                        "sha256": sha256(out / name / "adapter_model.safetensors"),
                    }
                fused[fused_name(safeguard, method, lr)] = accuracy[len(found) :]
                print(f"{safeguard} {method} {lr:g}: {accuracy[: len(found)]}", flush=True)
    return {"runs": runs, "fused": fused}


def main() -> None:
    root = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=root.parent / "runs" / "rate-sweep", help="folder of the runs")
    parser.add_argument("--out", type=Path, default=root / "gallery" / TABLE, help="the table")
    arguments = parser.parse_args()
    task = load_task("digits")
    train_missing(task, arguments.runs)
    versions = {name: version_of(name) for name in ("coto_lab", "torch", "transformers", "peft")}
    about = {"format": 1, "task": task.name, "base": task.base, "versions": versions}
    content = json.dumps(about | score(task, arguments.runs), indent=None, separators=(",", ":")) + "\n"
    write_file(arguments.out, lambda path: path.write_text(content))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
