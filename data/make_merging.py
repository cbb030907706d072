"""Train the adapters that are merged, one for each task, method and seed: ``python data/make_merging.py``, or ``make merging``.

What is trained is in `coto_lab.studies.task_sets`. Where a set is swept, all rates are tried on a seed of their own, for LoRA
and for CoTo, and each takes the rate with the best mean over the six tasks. Then come five seeds of every task, and of all six
tasks together. What is in ``--parts`` already is not trained again. At the end, all adapters are in ``data/gallery/merging`` in
half precision, and ``data/gallery/merging.json`` says what they are: of each set, ``base``; ``lr`` of each method; and
``sweep``: method -> rate -> task -> test accuracy in %; and the SHA-256 of every file.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from coto_lab import Evaluator, Task, Variant, fit_many, load_task
from coto_lab.ground.files import new_folder, read_json, sha256, write_file
from coto_lab.ground.versions import version_of
from coto_lab.studies.gallery import in_half
from coto_lab.studies.legs import STRINGS
from coto_lab.studies.task_sets import (
    FOLDER,
    JOINT,
    RATES,
    SEEDS,
    SWEEP_SEED,
    TABLE,
    TASK_SETS,
    WAYS,
    TaskSet,
    adapter_name,
    recipe_of,
)

GALLERY = Path(__file__).parent / "gallery"


def sweep(tasks: TaskSet, parts: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Method -> rate -> task -> test accuracy in %."""
    found: dict[str, dict[str, dict[str, float]]] = {way: {f"{lr:g}": {} for lr in RATES} for way in WAYS}
    for name in tasks.tasks:
        part = parts / f"sweep-{name.replace('/', '-')}.json"
        if not part.exists():
            task = load_task(name)
            plan = [(way, lr) for way in WAYS for lr in RATES]
            runs = fit_many(task, [recipe_of(tasks, way, lr, SWEEP_SEED) for way, lr in plan], progress=False)
            accuracy = Evaluator(task)([Variant(run.adapter) for run in runs]).accuracy
            scores = {f"{way} {lr:g}": round(100 * own, 4) for (way, lr), own in zip(plan, accuracy.tolist(), strict=True)}
            write_file(part, lambda path, scores=scores: path.write_text(json.dumps(scores)))
            print(f"sweep, {name}: {scores}", flush=True)
        for key, score in read_json(part).items():
            way, lr = key.split()
            found[way][lr][name] = score
    return found


def best(scores: dict[str, dict[str, float]]) -> float:
    """The rate with the best mean over the tasks."""
    return float(max(scores, key=lambda lr: sum(scores[lr].values())))


def train(tasks: TaskSet, task: Task, name: str, rates: dict[str, float], parts: Path) -> None:
    """Five seeds of LoRA and of CoTo, as rows of one training."""
    plan = [(way, seed) for way in WAYS for seed in SEEDS]
    if all((parts / adapter_name(name, way, seed)).exists() for way, seed in plan):
        return
    recipes = [recipe_of(tasks, way, rates[way], seed, joint=name.endswith(JOINT)) for way, seed in plan]
    runs = fit_many(task, recipes, progress=False)
    for (way, seed), run in zip(plan, runs, strict=True):
        if run.diverged:
            raise ValueError(f"{name}, {way}, seed {seed} diverged at a rate of {rates[way]}: add a lower one to RATES.")
        with new_folder(parts / adapter_name(name, way, seed)) as folder:
            in_half(run.adapter).write_files(folder)
    print(f"trained: {name}", flush=True)


def make(tasks: TaskSet, parts: Path) -> dict[str, Any]:
    """Train all adapters of a set; what the table says about it."""
    found = sweep(tasks, parts) if tasks.swept else {}
    rates = {way: best(found[way]) for way in WAYS} if found else dict.fromkeys(WAYS, tasks.recipe.lr)
    for name in tasks.tasks:
        if name not in STRINGS.tasks:  # the gallery has them
            train(tasks, load_task(name), name, rates, parts)
    train(tasks, tasks.joint(), f"{tasks.name}/{JOINT}", rates, parts)
    return {"base": tasks.joint().base, "lr": rates} | ({"sweep": found} if found else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=Path, default=Path("runs/merging"), help="where adapters are kept until all are there")
    parser.add_argument("--only", choices=sorted(TASK_SETS), help="train one set, and write no table")
    arguments = parser.parse_args()
    chosen = [TASK_SETS[arguments.only]] if arguments.only else list(TASK_SETS.values())
    sets = {tasks.name: make(tasks, arguments.parts) for tasks in chosen}
    if arguments.only:
        return
    shutil.copytree(arguments.parts / FOLDER, GALLERY / FOLDER, dirs_exist_ok=True)
    folders = sorted(path.parent for path in (GALLERY / FOLDER).rglob("adapter_config.json"))
    hashes = {
        folder.relative_to(GALLERY).as_posix(): {file.name: sha256(file) for file in sorted(folder.iterdir())}
        for folder in folders
    }
    versions = {name: version_of(name) for name in ("torch", "transformers", "peft")}
    content = {"sets": sets, "sha256": hashes, "versions": versions}
    write_file(GALLERY / TABLE, lambda path: path.write_text(json.dumps(content, indent=1) + "\n"))


if __name__ == "__main__":
    main()
