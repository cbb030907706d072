"""The section of the page about merging tasks."""

from __future__ import annotations

from collections.abc import Mapping

from coto_lab.studies.evidence.markdown import figure, interval, on_each, spread, table
from coto_lab.studies.evidence.merged import AGAIN, ALLOWED
from coto_lab.studies.evidence.records import Numbers
from coto_lab.studies.statistics import FAILS, HOLDS, OPEN
from coto_lab.studies.task_merging import COUNTS, ENTRIES, FEW
from coto_lab.studies.task_sets import SEEDS, WAYS

_PAPER = table(
    ["the paper", "LoRA, six tasks of GLUE", "CoTo", "LoRA, nine tasks, LLaMA-2-7B (second hand)", "CoTo"],
    [
        ["each adapter on its own task", "90.5", "", "", ""],
        ["fusion", "59.4", "63.4", "47.2", "58.5"],
        ["ensemble", "53.0", "57.2", "56.8", "56.7"],
        ["LoRA-LEGO", "65.4", "71.6", "62.2", "67.2"],
    ],
)
_WORDS = {"correct": "test accuracy", "characters": "the share of the answers' characters that are right"}


def text(legs: Mapping[str, Numbers]) -> str:
    """The section, in Markdown, from the numbers of the legs on which tasks were merged."""
    own = {leg: numbers["merged"] for leg, numbers in legs.items() if "merged" in numbers}
    measures = "; ".join(f"on the {leg}, {_WORDS[numbers['measure']]}" for leg, numbers in own.items())
    choosing = sum(len(options) > 1 for options in ENTRIES.values())
    return f"""## 15. Merging tasks

Six adapters, each trained on one task, become one adapter, which then has to serve all six tasks. On the digits the tasks are
handwritten digits and prints under five shifts that the base reads badly, all with the same 36 classes. On the strings each
task is behind a sign of its own. `make merging` trains the adapters, {len(SEEDS)} seeds each, and `make merged` makes this
table from them. Nothing in this section is among the claims and counts at the top of the page. The score is the mean over the
six tasks, in %: {measures}. On the strings six merged adapters hardly ever write a whole answer, so exact match
says little there; it stands in a column of its own.

**The frame.** The base alone, each adapter on its own task and on the five others, and one adapter that was trained on all six
tasks together, for twice as many steps as each of the others. Of the digits' adapters, the learning rate was chosen by the mean
over the six tasks, on a seed of its own, apart for LoRA and for CoTo; the strings have the gallery's rate. CoTo's adapters by
themselves are behind LoRA's at this number of steps, so its merged adapters begin lower.

{on_each(own, _frame)}

**Rules.** {choosing} rules have options. Each takes those with the best mean over {FEW} *training* examples of every task and
over all seeds, apart for LoRA and for CoTo; test examples have no part in the choice. "Weighted" fusion gives every adapter a
weight other than 1/6. The coefficients of `zip` are learned from training examples without their labels. Retrieval merges
three of the six adapters, those whose tasks are most like the input (of "nearest", one), so it is no single adapter; in the
last row, the adapter of the input's own task is never chosen. Differences are CoTo - LoRA, and the verdicts are about the
claim that CoTo is better.

{on_each(own, _rules)}

{_counts(own)}

{on_each(own, lambda leg, numbers: figure(leg, "merged", f"CoTo - LoRA for every rule, {leg}"))}

**Each task.** Means over the seeds, LoRA and then CoTo.

{on_each(own, _each)}

**The order of the rules.** In the paper LoRA-LEGO is best; fusion and ensemble change places:

{_PAPER}

{on_each(own, _order)}

**More tasks.** The mean score on the merged tasks if {COUNTS[0]} to {COUNTS[-2]} neighbouring tasks are merged (three choices
of neighbours, which together take each task equally often or nearly so), and all six, on half as many examples. LoRA-LEGO has
the adapters' own rank here.

{on_each(own, _count)}

**The options** that were chosen:

{on_each(own, _options)}

The adapters ship in half precision. `make evidence` merges and scores one seed again, by {", ".join(AGAIN)}: {_again(own)}.
More than {ALLOWED:g} would be an error.
"""


def _frame(leg: str, numbers: Numbers) -> str:
    rows = [["base alone", f"{numbers['zero']:.1f}", f"{numbers['zero']:.1f}"]]
    names = {"single": "each adapter on its own task", "others": "on the five other tasks", "joint": "trained on all tasks"}
    rows += [[words, *(spread(numbers["frames"][way][what]) for way in WAYS)] for what, words in names.items()]
    return table(["", *WAYS], rows)


def _rules(leg: str, numbers: Numbers) -> str:
    exact = numbers["measure"] != "correct"
    rows = [
        [
            rule,
            *(spread(own[way]) for way in WAYS),
            interval(own["difference"]),
            own["verdict"],
            *([" / ".join(f"{own['exact'][way]['mean']:.1f}" for way in WAYS)] if exact else []),
            f"{own['seconds']:.2f}",
        ]
        for rule, own in numbers["rules"].items()
    ]
    header = ["rule", *WAYS, "CoTo - LoRA", "CoTo is better", *(["exact match, LoRA / CoTo"] if exact else []), "seconds"]
    return table(header, rows)


def _counts(own: Mapping[str, Numbers]) -> str:
    parts = []
    for leg, numbers in own.items():
        verdicts = [rule["verdict"] for rule in numbers["rules"].values()]
        holds, fails, unsure = (verdicts.count(kind) for kind in (HOLDS, FAILS, OPEN))
        parts.append(f"on the {leg}, of {len(verdicts)} rules it holds for {holds}, does not hold for {fails}, and is "
                     f"inconclusive for {unsure}")  # fmt: skip
    return f"That CoTo is better: {'; '.join(parts)}."


def _each(leg: str, numbers: Numbers) -> str:
    short = [task.partition("/")[2] for task in numbers["tasks"]]
    frames = {"each adapter on its own": numbers["single_each"], "trained on all": numbers["joint_each"]}
    rows = [["base alone", *(f"{numbers['zero_each'][task]:.0f}" for task in numbers["tasks"])]]
    scores = frames | {rule: own["each"] for rule, own in numbers["rules"].items()}
    rows += [
        [name, *(" / ".join(f"{ways[way][task]:.0f}" for way in WAYS) for task in numbers["tasks"])]
        for name, ways in scores.items()
    ]
    return table(["", *short], rows)


def _order(leg: str, numbers: Numbers) -> str:
    rows = [
        [f"{own['above']} is better than {own['below']}", own["way"], interval(own), own["verdict"]] for own in numbers["order"]
    ]
    return table(["claim", "", "difference", "verdict"], rows, texts=2)


def _count(leg: str, numbers: Numbers) -> str:
    counts = list(next(iter(numbers["count"].values())))
    rows = []
    for rule, ways in numbers["counted"].items():
        rows += [[f"{rule}, {way}", *(spread(ways[way][n]) for n in counts)] for way in WAYS]
        rows.append([f"{rule}, CoTo - LoRA", *(interval(numbers["count"][rule][n]) for n in counts)])
    drawn = figure(leg, "merged_counts", f"score against the number of merged tasks, by rule, {leg}")
    return f"{table(['tasks merged', *counts], rows)}\n\n{drawn}"


def _options(leg: str, numbers: Numbers) -> str:
    rows = [[rule, *(f"`{ways[way]}`" for way in WAYS)] for rule, ways in numbers["options"].items() if len(ENTRIES[rule]) > 1]
    return table(["rule", *WAYS], rows, texts=3)


def _again(own: Mapping[str, Numbers]) -> str:
    return "; ".join(f"on the {leg} they differ by at most {numbers['again']:g} points" for leg, numbers in own.items())
