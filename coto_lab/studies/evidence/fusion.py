"""Topic 11: what only a language model can test, above all tasks on which fusion fails for both methods."""

from __future__ import annotations

from collections.abc import Mapping

from coto_lab.studies.evidence.markdown import spread, table
from coto_lab.studies.evidence.merging import HALF
from coto_lab.studies.evidence.records import PAIRS, Claim, Numbers, Section, compare, summary
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.gallery import SWEPT


def judge(tasks: Mapping[str, Values]) -> Section:
    """Numbers and claims of this topic, which looks at the tasks of a leg one by one.

    Args:
        tasks: short name of a task -> the values of all topics on it.
    """
    numbers: Numbers = {}
    claims = []
    for method in SWEPT:
        parts, numbers[method] = {}, {}
        for task, found in tasks.items():
            alone, fused = found["accuracy"][method], 100 * found["merging"]["accuracy"][method][:, HALF]
            of_pairs = [(alone[i] + alone[j]).item() / 2 for i, j in PAIRS]
            numbers[method][task] = {"alone": summary(alone), "fused": summary(fused)}
            parts[task if len(tasks) > 1 else ""] = compare(
                numbers[method][task]["fused"], summary([half / 2 for half in of_pairs]), PAIRS
            )
        claims.append(
            Claim(
                topic=11,
                text=f"Two fused seeds of {method} keep at least half of the accuracy of one run, on every task",
                paper="not reported",
                kind="above",
                grid="fused 1:1, minus half of the mean of the two runs",
                parts=parts,
            )
        )
    return Section(numbers, claims)


def text(legs: Mapping[str, Numbers]) -> str:
    """The topic's section of the page, in Markdown."""
    rows = [
        [
            f"{leg}: {task}" if task != leg else leg,
            *(cell for method in SWEPT for cell in _cells(numbers["fusion"][method][task])),
        ]
        for leg, numbers in legs.items()
        for task in numbers["fusion"]["LoRA"]
    ]
    header = ["task", *(f"{method}, {what}" for method in SWEPT for what in ("alone", "fused 1:1", "kept"))]
    halves = [
        [
            f"{name}, {leg}",
            *(spread(numbers[topic]["top_half"][method]) for method in SWEPT),
        ]
        for leg, numbers in legs.items()
        for name, topic in (("Shapley values", "shapley"), ("gradient norm", "gradients"))
    ]
    return f"""## 11. Task by task: does fusion fail on one and not on another?

The strings are several tasks on one base model, so here one can ask whether a fusion of two seeds fails on one task and not on
another. The table has the test accuracy in % of single runs (five seeds) and of fusions of two (ten pairs), and how much of the
accuracy is kept, as the quotient of the two means. The other legs are there for comparison.

{table(header, rows)}

The paper says that LoRA's updates concentrate in the top blocks. A vision model and a language model may differ in this, so
this table has the share of the upper half of the blocks in %, over five seeds, for both; even shares are 50. The claims about
it are those of topics 5 and 6 above.

{table(["share of the upper half", *SWEPT], halves)}
"""


def _cells(own: Numbers) -> list[str]:
    alone, fused = own["alone"], own["fused"]
    kept = f"{100 * fused['mean'] / alone['mean']:.0f}%" if alone["mean"] else "–"
    return [spread(alone), spread(fused), kept]
