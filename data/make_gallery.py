"""Train five seeds each of LoRA and CoTo on the digits, and print what they score: ``python data/make_gallery.py``.

Runs that lie in ``--out`` already are scored, not trained again: another folder (``--out runs/gallery``) makes all ten anew,
in half a minute to a minute each on two cores. The table is also written to ``scores.json`` beside the runs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pandas as pd

from coto_lab import Evaluator, Linear, Recipe, Run, Task, Variant, fit, interpolate, load_task, merge, prune
from coto_lab._files import write_file
from coto_lab.probes.gradients import gradient_share

RECIPES = {"LoRA": Recipe(), "CoTo": Recipe(schedule=Linear())}
SEEDS = range(5)


def trained(task: Task, recipe: Recipe, path: Path) -> Run:
    """The run at ``path``, made first where there is none."""
    if not path.exists():
        print(f"training {path.name}")
        fit(task, recipe).save(path)
    run = Run.load(path)
    if (run.recipe, run.base) != (recipe, task.base):
        raise SystemExit(f"{path} was made by another recipe or base model: delete it, or choose another --out.")
    return run


def score(task: Task, runs: list[Run], evaluator: Evaluator) -> Iterator[tuple[str, float]]:
    """Name and value, as a share of 1, of everything that is scored of one method's seeds."""
    tables = [prune(task, run, evaluator=evaluator).frame().set_index("pattern")["accuracy"] for run in runs]
    for table in tables:
        yield "all adapters", table["all"]
    pairs = list(combinations(runs, 2))
    for how in ("fuse", "ensemble"):
        for pair in pairs:
            name = {"fuse": "1:1 fusion of two seeds", "ensemble": "1:1 ensemble of two seeds"}[how]
            yield name, interpolate(task, *pair, alphas=[0, 0.5, 1], how=how, evaluator=evaluator).accuracy[1].item()
    # Fusion is 1/4 of each run's own update plus 1/4 of the two cross terms. This is its first half alone.
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
    out = parser.parse_args().out
    task = load_task("digits")
    evaluator = Evaluator(task)
    rows = []
    for method, recipe in RECIPES.items():
        runs = [trained(task, replace(recipe, seed=seed), out / f"{method.lower()}-seed{seed}") for seed in SEEDS]
        rows += [(name, method, 100 * value) for name, value in score(task, runs, evaluator)]
    scores = pd.DataFrame(rows, columns=["score", "method", "value"])
    table = scores.groupby(["score", "method"], sort=False)["value"].agg(["mean", "std", "min", "max", "count"]).round(2)
    print("\nTest accuracy in %; last: share of the gradient norm in the last quarter of training, in %")
    print(f"(five seeds; where two are merged, all ten pairs)\n\n{table.to_string()}")
    content = json.dumps(table.reset_index().to_dict("records"), indent=2) + "\n"
    write_file(out / "scores.json", lambda path: path.write_text(content))


if __name__ == "__main__":
    main()
