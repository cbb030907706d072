"""Train five seeds each of LoRA and CoTo on the digits, and print what they score: ``python data/make_gallery.py``.

Runs that lie in ``--out`` already are scored, not trained again; delete a folder to make it anew. About half a minute a run
on two cores. The table is also written to ``scores.json`` beside the runs.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pandas as pd

from coto_lab import Evaluator, Linear, Recipe, Run, fit, interpolate, load_task, prune
from coto_lab._files import write_file
from coto_lab.probes.gradients import gradient_share

RECIPES = {"LoRA": Recipe(), "CoTo": Recipe(schedule=Linear())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "gallery")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    task = load_task("digits")
    evaluator = Evaluator(task)
    rows = []
    for method, recipe in RECIPES.items():
        runs = []
        for seed in range(args.seeds):
            path = args.out / f"{method.lower()}-seed{seed}"
            if not path.exists():
                print(f"training {path.name}")
                fit(task, replace(recipe, seed=seed)).save(path)
            runs.append(Run.load(path))
        tables = [prune(task, run, evaluator=evaluator).frame().set_index("pattern")["accuracy"] for run in runs]
        rows += [(method, "all adapters", table["all"]) for table in tables]
        for how, name in (("fuse", "1:1 fusion of two seeds"), ("ensemble", "1:1 ensemble of two seeds")):
            for run_a, run_b in combinations(runs, 2):
                curve = interpolate(task, run_a, run_b, alphas=[0, 0.5, 1], how=how, evaluator=evaluator)
                rows.append((method, name, curve.accuracy[1].item()))
        for pattern in tables[0].index.drop(["all", "none"]):
            rows += [(method, f"kept: {pattern}", table[pattern]) for table in tables]
        shares = [gradient_share(run.history.grad_norm, run.recipe.steps, bins=4)[0, -1].item() for run in runs]
        rows += [(method, "block 0's gradient share", share) for share in shares]  # in the last quarter of training
    scores = pd.DataFrame(rows, columns=["method", "score", "value"])
    grouped = (scores["value"] * 100).groupby([scores["score"], scores["method"]], sort=False)
    table = grouped.agg(["mean", "std", "min", "max", "count"]).round(2)
    print(f"\nTest accuracy in % (last: share of the gradient norm in the last quarter of training, in %), {args.seeds} seeds")
    print(f"(1:1: all pairs of seeds)\n\n{table.to_string()}")
    content = json.dumps(table.reset_index().to_dict("records"), indent=2) + "\n"
    write_file(args.out / "scores.json", lambda path: path.write_text(content))


if __name__ == "__main__":
    main()
