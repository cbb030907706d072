"""Section 15 of EVIDENCE.md: verdicts by hand, and what ships says what the table and the adapters say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from coto_lab.studies.evidence import merged
from coto_lab.studies.evidence.merged_text import text
from coto_lab.studies.evidence.page import of_legs
from coto_lab.studies.gallery import evidence
from coto_lab.studies.task_merging import COUNTED, ENTRIES, table
from coto_lab.studies.task_sets import TASK_SETS, WAYS

ROOT = Path(__file__).parents[2]
TASKS = ["glyphs/one", "glyphs/two"]

# By hand


def each(mean: float, spread: float = 0.1) -> dict[str, list[float]]:
    """Two tasks, five seeds; the first task is two points better than the second."""
    steps = [spread * step for step in (-2, -1, 0, 1, 2)]
    return {"glyphs/one": [mean + 1 + step for step in steps], "glyphs/two": [mean - 1 + step for step in steps]}


def rule(mean: float, spread: float = 0.1) -> dict[str, Any]:
    per_task = each(mean, spread)
    means = [sum(own) / 2 for own in zip(*per_task.values(), strict=True)]
    return {"per_task": per_task, "mean": means, "exact": means, "seconds": 0.01}


MEANS = {"fuse": (40, 45), "ensemble": (42, 40), "cat": (10, 10), "lego": (50, 50.05)}
RULES = {name: {"LoRA": rule(lora), "CoTo": rule(coto, -0.1)} for name, (lora, coto) in MEANS.items()}
COUNT = {
    name: {way: {"2": own["mean"], "6": own["mean"]} for way, own in ways.items()}
    for name, ways in RULES.items()
    if name in COUNTED
}
OWN = {
    "tasks": TASKS,
    "measure": "correct",
    "options": {"fuse": dict.fromkeys(WAYS, "Fuse()"), "lego": {"LoRA": "Lego(4)", "CoTo": "Lego(8)"}},
    "rules": RULES,
    "count": COUNT,
    "frames": {way: {"single": each(90), "joint": each(80)} for way in WAYS},
    "others": {way: [9.0, 10.0, 11.0, 10.0, 10.0] for way in WAYS},
    "zero": {"glyphs/one": 20.0, "glyphs/two": 30.0},
    "moved": {way: [0.1] * 5 for way in WAYS},
}


def found(off: float = 0.0) -> dict[str, Any]:
    """What was measured again, ``off`` points beside the table."""
    return {
        name: {way: torch.tensor([RULES[name][way]["per_task"][task][0] + off for task in TASKS]).double() for way in WAYS}
        for name in merged.AGAIN
    }


@pytest.fixture(scope="module")
def numbers() -> dict[str, Any]:
    return merged.judge(found(), OWN).numbers


@pytest.fixture(scope="module")
def said(numbers: dict[str, Any]) -> str:
    return text({"digits": {"merged": numbers}, "docstrings": {}})  # no tasks are merged on the docstrings


def test_a_verdict_is_whether_coto_merges_better(numbers: dict[str, Any]) -> None:
    verdicts = {name: own["verdict"] for name, own in numbers["rules"].items()}
    assert verdicts == {"fuse": "holds", "ensemble": "does not hold", "cat": "inconclusive", "lego": "inconclusive"}
    assert numbers["rules"]["fuse"]["difference"]["mean"] == 5


def test_the_order_of_the_rules_is_compared_with_the_papers(numbers: dict[str, Any]) -> None:
    order = {(own["above"], own["below"], own["way"]): own["verdict"] for own in numbers["order"]}
    assert order["lego", "fuse", "LoRA"] == order["lego", "ensemble", "CoTo"] == "holds"
    assert order["fuse", "ensemble", "LoRA"] == "does not hold" and order["fuse", "ensemble", "CoTo"] == "holds"


def test_the_frame_has_the_means_of_all_tasks(numbers: dict[str, Any], said: str) -> None:
    assert numbers["zero"] == 25 and numbers["frames"]["LoRA"]["single"]["mean"] == 90
    assert "| base alone | 25.0 | 25.0 |" in said and "| trained on all tasks | 80.0 ± 0.2 | 80.0 ± 0.2 |" in said


def test_the_page_counts_the_verdicts_and_names_the_options(said: str) -> None:
    flat = " ".join(said.split())
    assert "of 4 rules it holds for 1, does not hold for 1, and is inconclusive for 2." in flat
    assert "| lego | `Lego(4)` | `Lego(8)` |" in said
    assert "| fuse | `Fuse()`" not in said  # it has nothing to choose
    assert "| fuse | 41 / 46 | 39 / 44 |" in said
    assert "they differ by at most 0 points" in flat


def test_a_merged_adapter_that_scores_otherwise_is_an_error() -> None:
    assert merged.judge(found(0.25), OWN).numbers["again"] == pytest.approx(0.25, abs=1e-4)
    with pytest.raises(ValueError, match=r"score otherwise .*\('fuse', 'LoRA'\): 1\.5.*make merged"):
        merged.judge(found(1.5), OWN)


def test_the_figures_have_every_rule(numbers: dict[str, Any]) -> None:
    figures = merged.judge(found(), OWN).figures
    assert list(figures["merged"].data[0].y) == list(RULES)
    assert len(figures["merged_counts"].data) == 2 * len(COUNT)


# What ships


@pytest.mark.parametrize("name", TASK_SETS)
def test_the_numbers_are_those_of_the_table(name: str) -> None:
    content = table()["sets"][name]
    own = of_legs(evidence())[name]["merged"]
    same = {
        rule: {
            way: torch.tensor([content["rules"][rule][way]["per_task"][task][merged.SEED] for task in content["tasks"]])
            for way in WAYS
        }
        for rule in merged.AGAIN
    }
    again = merged.judge(same, content).numbers | {"again": own["again"]}
    assert json.loads(json.dumps(again)) == own
    assert own["again"] <= merged.ALLOWED
    assert set(ENTRIES) < set(content["rules"])


def test_the_claims_of_the_page_are_without_merged_tasks() -> None:
    assert max(row["topic"] for row in evidence()["claims"]) < 14
    assert "merged" not in of_legs(evidence())["docstrings"]
    assert "## 15. Merging tasks" in (ROOT / "EVIDENCE.md").read_text(encoding="utf-8")
