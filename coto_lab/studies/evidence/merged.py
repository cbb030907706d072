"""Topic 15: six tasks merged by every rule, with LoRA and with CoTo.

Its verdicts are not among the claims of the page's first table, which are about one task.
"""

from __future__ import annotations

from dataclasses import asdict

from coto_lab.figures.merged_counts import merged_counts_figure
from coto_lab.figures.variants import variants_figure
from coto_lab.studies.evidence.records import Numbers, Section, compare, summary
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.task_merging import ENTRIES, scored, scored_examples
from coto_lab.studies.task_sets import TASK_SETS, WAYS, load_task_adapters

AGAIN = ("fuse", "ensemble", "cat")  # rules without options, of which one seed is merged and scored again
SEED = 0
ALLOWED = 0.5  # points between a score in the table and the one that is measured again
# The order of the rules in the paper: LoRA-LEGO is above both others in every table. Fusion is above the ensemble in three of
# four cases (table r1, LoRA and CoTo; LLaMA-2-7B with CoTo, but not with LoRA).
ORDER = (("lego", "fuse"), ("lego", "ensemble"), ("fuse", "ensemble"))


def values(name: str) -> Values:
    """What the merged adapters of seed 0 score: rule -> method -> float64 ``[tasks]``, in %, for the rules of `AGAIN`.

    Args:
        name: of a set of tasks.
    """
    tasks = TASK_SETS[name]
    adapters = {way: load_task_adapters(tasks, way, SEED) for way in WAYS}
    merged = [ENTRIES[rule][0].merged(adapters[way]) for rule in AGAIN for way in WAYS]
    scores = iter(scored(scored_examples(tasks), merged, tasks.measure))
    return {rule: {way: next(scores) for way in WAYS} for rule in AGAIN}


def judge(found: Values, own: Numbers) -> Section:
    """Numbers and the figures of this topic.

    Args:
        found: what `values` measured.
        own: of `coto_lab.studies.task_merging.table`, such as ``table()["sets"]["digits"]``.

    Raises:
        ValueError: merged adapters score otherwise than the table says.
    """
    rules = {rule: _rule(ways) for rule, ways in own["rules"].items()}
    frames = {
        way: {what: summary(_means(scores)) for what, scores in kinds.items()} | {"others": summary(own["others"][way])}
        for way, kinds in own["frames"].items()
    }
    numbers: Numbers = {
        "tasks": own["tasks"],
        "measure": own["measure"],
        "again": _farthest(found, own),
        "zero": round(sum(own["zero"].values()) / len(own["zero"]), 4),
        "zero_each": own["zero"],
        "frames": frames,
        "single_each": {way: _each(own["frames"][way]["single"]) for way in WAYS},
        "joint_each": {way: _each(own["frames"][way]["joint"]) for way in WAYS},
        "options": own["options"],
        "rules": rules,
        "order": [_order(pair, rules, way) for pair in ORDER for way in WAYS],
        "moved": own["moved"],
        "count": {
            rule: {n: asdict(compare(summary(ways["CoTo"][n]), summary(ways["LoRA"][n]))) for n in ways["LoRA"]}
            for rule, ways in own["count"].items()
        },
        "counted": {
            rule: {way: {n: summary(scores) for n, scores in each.items()} for way, each in ways.items()}
            for rule, ways in own["count"].items()
        },
    }
    differences = {"six tasks merged": {rule: _interval(one) for rule, one in rules.items()}}
    counts = {
        rule: {way: {int(n): scores for n, scores in each.items()} for way, each in ways.items()}
        for rule, ways in own["count"].items()
    }
    return Section(numbers, figures={"merged": variants_figure(differences), "merged_counts": merged_counts_figure(counts)})


def _rule(ways: Numbers) -> Numbers:
    """Mean over the tasks with LoRA and with CoTo, their difference with its verdict, and each task."""
    columns = {way: summary(ways[way]["mean"]) for way in WAYS}
    difference = compare(columns["CoTo"], columns["LoRA"])
    return {
        **columns,
        "difference": asdict(difference),
        "verdict": difference.verdict("above"),
        "exact": {way: summary(ways[way]["exact"]) for way in WAYS},
        "each": {way: _each(ways[way]["per_task"]) for way in WAYS},
        "seconds": max(ways[way]["seconds"] for way in WAYS),
    }


def _order(pair: tuple[str, str], rules: Numbers, way: str) -> Numbers:
    """Whether one rule is above another, as in the paper."""
    difference = compare(rules[pair[0]][way], rules[pair[1]][way])
    return {"above": pair[0], "below": pair[1], "way": way} | asdict(difference) | {"verdict": difference.verdict("above")}


def _each(per_task: Numbers) -> dict[str, float]:
    return {task: round(sum(scores) / len(scores), 4) for task, scores in per_task.items()}


def _means(per_task: Numbers) -> list[float]:
    """The mean over the tasks, of each seed."""
    return [sum(own) / len(own) for own in zip(*per_task.values(), strict=True)]


def _interval(rule: Numbers) -> tuple[float, float, float]:
    own = rule["difference"]
    return own["mean"], own["low"], own["high"]


def _farthest(found: Values, own: Numbers) -> float:
    """The largest difference in points between a score in the table and the one that was measured again."""
    apart = {
        (rule, way): max(
            abs(score - own["rules"][rule][way]["per_task"][task][SEED])
            for task, score in zip(own["tasks"], scores.tolist(), strict=True)
        )
        for rule, ways in found.items()
        for way, scores in ways.items()
    }
    if wrong := {pair: round(points, 2) for pair, points in apart.items() if points > ALLOWED}:
        raise ValueError(
            f"these merged adapters score otherwise than the table says, by so many points: {wrong}. Make the table again: "
            "make merged."
        )
    return round(max(apart.values()), 4)
