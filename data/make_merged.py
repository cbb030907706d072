"""Merge the adapters of every set of tasks by every rule, and score them: ``python data/make_merged.py``, or ``make merged``.

The adapters are in the gallery (`coto_lab.studies.task_sets`); the rules and their options are in
`coto_lab.studies.task_merging`. ``data/gallery/merged.json`` has for each set: ``options``, what each rule takes with LoRA and
with CoTo; ``tried``, the mean scores in % by which they were chosen; ``rules``: rule -> method -> ``per_task``, the score of
each task in %, of five seeds, ``mean`` over the tasks, ``exact``, the mean share of right answers, and ``seconds`` of merging;
``count``: rule -> method -> number of tasks -> the mean score of five seeds; ``frames``: method -> ``single``, each adapter on
its own task, and ``joint``, one adapter that was trained on all; ``zero``, the base alone; ``others``: method -> the mean of
each adapter on the five tasks that are not its own; ``moved``: how far the learned coefficients of ``zip`` moved.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed

from coto_lab import Evaluator, Scores, Variant, load_task
from coto_lab.ground.files import read_json, write_file
from coto_lab.ground.versions import version_of
from coto_lab.merging.fit_merge import fit_merge
from coto_lab.studies.task_merging import (
    COUNTED,
    COUNTS,
    ENTRIES,
    LEARNED,
    RETRIEVED,
    TABLE,
    by_task,
    counted,
    few_examples,
    retrieved_scores,
    scored,
    scored_examples,
    similarity,
)
from coto_lab.studies.task_sets import SEEDS, TASK_SETS, WAYS, TaskSet, load_joint_adapter, load_task_adapters

GALLERY = Path(__file__).parent / "gallery"
_FEWER = 2  # of the examples that are scored where the number of tasks varies: one in so many


def choose(name: str, way: str) -> dict[str, Any]:
    """Of each rule, the place of the options with the best mean on training examples, and what was tried."""
    torch.set_num_threads(1)
    tasks = TASK_SETS[name]
    joint = few_examples(tasks)
    seeds = [load_task_adapters(tasks, way, seed) for seed in SEEDS]
    chosen, tried = {}, {}
    for rule, every in ENTRIES.items():
        merged = [options.merged(adapters) for options in every for adapters in seeds]
        means = scored(joint, merged, tasks.measure).mean(1).reshape(len(every), len(seeds)).mean(1)
        tried[rule] = {str(options): round(mean, 4) for options, mean in zip(every, means.tolist(), strict=True)}
        chosen[rule] = int(means.argmax())
    print(f"{name}, {way}: chosen {chosen}", flush=True)
    return {"chosen": chosen, "tried": tried}


def measure(name: str, way: str, seed: int, chosen: Mapping[str, int]) -> dict[str, Any]:
    """What the adapters of one seed score by themselves, together, and merged by every rule."""
    torch.set_num_threads(1)
    tasks = TASK_SETS[name]
    adapters, joint = load_task_adapters(tasks, way, seed), scored_examples(tasks)
    evaluator = Evaluator(joint)
    shut = torch.zeros(len(evaluator.sites(adapters[0])), dtype=torch.bool)
    frames = [*map(Variant, adapters), Variant(load_joint_adapter(tasks, way, seed)), Variant(adapters[0], shut)]
    scores = by_task(evaluator(frames), joint, tasks.measure)
    single = scores[: len(adapters)]
    own = single.diagonal()
    others = (single.sum(1) - own) / (len(adapters) - 1)
    found: dict[str, Any] = {
        "single": rounded(own),
        "others": rounded(others),
        "joint": rounded(scores[-2]),
        "zero": rounded(scores[-1]),
        "rules": {},
    }

    def keep(rule: str, own: Scores, seconds: float) -> None:
        per_task, exact = (by_task(own, joint, measure)[0] for measure in (tasks.measure, "correct"))
        found["rules"][rule] = {"per_task": rounded(per_task), "exact": rounded(exact), "seconds": round(seconds, 2)}

    for rule, every in ENTRIES.items():
        started = time.perf_counter()
        merged = every[chosen[rule]].merged(adapters)
        seconds = time.perf_counter() - started
        keep(rule, evaluator([Variant(merged)]), seconds)
    started = time.perf_counter()
    learned = fit_merge([load_task(task) for task in tasks.tasks], adapters, LEARNED, progress=False)
    keep("zip", evaluator([Variant(learned.adapter)]), time.perf_counter() - started)
    found["moved"] = round(learned.moved, 4)
    alike = similarity(tasks, joint)
    for rule, options in RETRIEVED.items():
        started = time.perf_counter()
        own_scores = retrieved_scores(joint, alike, adapters, options)
        keep(rule, own_scores, time.perf_counter() - started)
    few = scored_examples(tasks, tasks.most // _FEWER)
    count = counted(tasks, few, adapters, list(COUNTED.values()))
    means = {n: torch.stack(scores).mean(0) for n, scores in count.items()}
    found["count"] = {rule: {str(n): round(means[n][i].item(), 4) for n in means} for i, rule in enumerate(COUNTED)}
    print(f"{name}, {way}, seed {seed}: measured", flush=True)
    return found


def rounded(scores: torch.Tensor) -> list[float]:
    return [round(score, 4) for score in scores.tolist()]


def joined(tasks: TaskSet, options: Mapping[str, Any], parts: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """What the table says about a set, from the parts of all seeds."""

    def each_task(rows: Sequence[Sequence[float]]) -> dict[str, list[float]]:
        return {task: [row[i] for row in rows] for i, task in enumerate(tasks.tasks)}

    def mean(row: Sequence[float]) -> float:
        return round(sum(row) / len(row), 4)

    rules: dict[str, Any] = {}
    for rule in parts[WAYS[0]][0]["rules"]:
        rules[rule] = {}
        for way in WAYS:
            own = [part["rules"][rule] for part in parts[way]]
            rules[rule][way] = {
                "per_task": each_task([one["per_task"] for one in own]),
                "mean": [mean(one["per_task"]) for one in own],
                "exact": [mean(one["exact"]) for one in own],
                "seconds": mean([one["seconds"] for one in own]),
            }
    count = {
        rule: {way: {str(n): [part["count"][rule][str(n)] for part in parts[way]] for n in COUNTS} for way in WAYS}
        for rule in COUNTED
    }
    return {
        "tasks": list(tasks.tasks),
        "measure": tasks.measure,
        "options": {rule: {way: str(every[options[way]["chosen"][rule]]) for way in WAYS} for rule, every in ENTRIES.items()},
        "tried": {way: options[way]["tried"] for way in WAYS},
        "rules": rules,
        "count": count,
        "frames": {way: {what: each_task([part[what] for part in parts[way]]) for what in ("single", "joint")} for way in WAYS},
        "others": {way: [mean(part["others"]) for part in parts[way]] for way in WAYS},
        "zero": dict(zip(tasks.tasks, parts[WAYS[0]][0]["zero"], strict=True)),
        "moved": {way: [part["moved"] for part in parts[way]] for way in WAYS},
    }


def made(path: Path, make: Any, *arguments: Any) -> Any:
    """What a part holds; it is made first if it is not there."""
    if not path.exists():
        content = json.dumps(make(*arguments))
        write_file(path, lambda place: place.write_text(content))
    return read_json(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=Path, default=Path("runs/merged"), help="where scores are kept until all are there")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    parts: Path = arguments.parts
    parts.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    pairs = [(name, way) for name in TASK_SETS for way in WAYS]
    work = Parallel(n_jobs=arguments.jobs)
    found = work(delayed(made)(parts / f"{name}-{way}.json", choose, name, way) for name, way in pairs)
    options = dict(zip(pairs, found, strict=True))
    triples = [(name, way, seed) for name, way in pairs for seed in SEEDS]
    found = work(
        delayed(made)(parts / f"{name}-{way}-{seed}.json", measure, name, way, seed, options[name, way]["chosen"])
        for name, way, seed in triples
    )
    rows = dict(zip(triples, found, strict=True))
    sets = {
        name: joined(
            tasks,
            {way: options[name, way] for way in WAYS},
            {way: [rows[name, way, seed] for seed in SEEDS] for way in WAYS},
        )
        for name, tasks in TASK_SETS.items()
    }
    versions = {name: version_of(name) for name in ("torch", "transformers", "peft")}
    content = json.dumps({"sets": sets, "versions": versions}, indent=1) + "\n"
    write_file(GALLERY / TABLE, lambda place: place.write_text(content))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
