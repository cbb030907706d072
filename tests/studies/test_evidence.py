"""EVIDENCE.md that ships: it says what evidence.json says, and that is what the gallery's runs score."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel

from coto_lab import Evaluator, Run, Task, Variant, merge
from coto_lab.studies.gallery import load_adapters, load_run, load_sweep, manifest, run_name
from coto_lab.studies.legs import LEGS, STRINGS, Leg
from coto_lab.studies.statistics import Difference, paired_difference

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "data"))  # the folder of make_evidence.py, as when it runs

from coto_lab.studies.evidence.lab import Lab, RememberingEvaluator  # noqa: E402
from coto_lab.studies.evidence.page import of_legs, page, short  # noqa: E402
from coto_lab.studies.evidence.records import PAIRS, TRIPLES, Claim  # noqa: E402
from coto_lab.studies.evidence.rows import cell, claim_rows, counted, disagreements  # noqa: E402
from coto_lab.studies.evidence.sweep_panels import edges  # noqa: E402
from coto_lab.studies.evidence.values import averaged  # noqa: E402

FOLDER = ROOT / "data" / "evidence"
EVIDENCE = json.loads((FOLDER / "evidence.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "EVIDENCE.md").read_text(encoding="utf-8")
CLAIMS, TOPICS = EVIDENCE["claims"], of_legs(EVIDENCE)
# What was judged: a claim's row, the leg or the task, and what was found.
JUDGED = [(row, where, found) for row in CLAIMS for where, found in (row["legs"] | row["tasks"]).items()]


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a JSON value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from nodes(item)


# The page


def test_page_is_what_the_numbers_make() -> None:
    assert page(EVIDENCE) == PAGE, "run `.venv/bin/python data/make_evidence.py --page`"


def tables() -> list[list[list[str]]]:
    """The cells of the page's tables."""
    blocks = re.findall(r"(?:^\|.*\n)+", PAGE, flags=re.MULTILINE)
    return [[line.strip("| ").split(" | ") for line in block.splitlines()] for block in blocks]


def test_every_claim_has_its_row_with_the_numbers_and_verdicts_of_all_legs() -> None:
    _, _, *rows = tables()[0]
    assert len(rows) == len(CLAIMS) >= 30
    for cells, row in zip(rows, CLAIMS, strict=True):
        assert cells == [str(row["topic"]), row["text"], row["paper"], *(cell(row, row["legs"].get(leg)) for leg in TOPICS)]
        assert row["legs"] and all(f"**{found['verdict']}**" in "".join(cells[3:]) for found in row["legs"].values())


def test_every_claim_on_the_strings_has_a_cell_for_each_task() -> None:
    header, _, *rows = next(own for own in tables() if own[0][-1] == short(STRINGS.tasks[-1]))
    assert header[-len(STRINGS.tasks) :] == [short(task) for task in STRINGS.tasks]
    assert [cells[1] for cells in rows] == [row["text"] for row in CLAIMS if row["tasks"]]
    by_task = {row["text"] for row in CLAIMS if row["topic"] == 11}  # the parts of these claims are the tasks
    assert {row["text"] for row in CLAIMS if "strings" in row["legs"]} - by_task == {cells[1] for cells in rows}
    assert all(list(row["tasks"]) == list(STRINGS.tasks) for row in CLAIMS if row["tasks"])


def test_the_legs_have_their_verdicts_counted() -> None:
    assert list(TOPICS) == list(LEGS)
    for leg in LEGS:
        verdicts = [row["legs"][leg]["verdict"] for row in CLAIMS if leg in row["legs"]]
        counts = [verdicts.count(verdict) for verdict in ("holds", "does not hold", "inconclusive")]
        assert sum(counts) == len(verdicts)
        said = f"of {len(verdicts)} claims {counts[0]} hold, {counts[1]} do not, and {counts[2]} are inconclusive"
        assert counted(CLAIMS, leg) == said
        assert said in " ".join(PAGE.split())


def test_claims_are_worded_without_numbers_that_were_measured() -> None:
    assert [row["text"] for row in CLAIMS if re.search(r"\d\.\d", row["text"].replace("Theorem 3.1", ""))] == []


def test_figures_are_those_of_the_page() -> None:
    shown = re.findall(r"\]\(data/evidence/(\w+\.png)\)", PAGE)
    files = list(FOLDER.glob("*.png"))
    assert sorted(shown) == sorted(file.name for file in files)
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    assert sum(file.stat().st_size for file in files) < 2.7e6


# The numbers


@pytest.mark.parametrize("row, where, found", JUDGED, ids=[f"{where}: {row['text']}" for row, where, _ in JUDGED])
def test_verdicts_follow_from_the_intervals(row: dict[str, Any], where: str, found: dict[str, Any]) -> None:
    parts = [Difference(**part) for part in found["parts"].values()]
    assert all(part.low <= part.mean <= part.high and (part.n, part.level) == (5, 0.95) for part in parts)
    verdicts = {part.verdict(row["kind"], row["margin"]) for part in parts}
    verdicts |= {"holds" if fitting == total else "does not hold" for fitting, total in found["counts"].values()}
    assert found["verdict"] == next(v for v in ("does not hold", "inconclusive", "holds") if v in verdicts)


def test_a_difference_on_the_strings_is_the_mean_of_those_of_the_tasks() -> None:
    compared = 0
    for row in CLAIMS:
        if row["topic"] in (1, 3, 4, 8) and row["tasks"]:
            for name, part in row["legs"]["strings"]["parts"].items():
                of_tasks = [own["parts"].get(name) for own in row["tasks"].values()]
                if None not in of_tasks:  # a part of a claim about rates has the rates in its name
                    assert part["mean"] == pytest.approx(np.mean([own["mean"] for own in of_tasks if own]), abs=2e-4)
                    compared += 1
    assert compared > 15


def test_means_and_deviations_are_those_of_the_values() -> None:
    summaries = [node for node in nodes(EVIDENCE) if "values" in node]
    assert len(summaries) > 100
    for node in summaries:
        assert node["n"] == len(node["values"])
        assert (node["mean"], node["sd"]) == pytest.approx((np.mean(node["values"]), np.std(node["values"], ddof=1)), abs=2e-4)


def test_differences_over_seeds_are_student_s() -> None:
    found = 0
    columns = [[leg["accuracy"]["scores"], *leg["pruning"]["scores"].values()] for leg in TOPICS.values()]
    for column in (column for own in columns for column in own):
        for own in (column[method] for method in column if method != "LoRA"):
            interval = ttest_rel(own["values"], column["LoRA"]["values"]).confidence_interval()
            assert (own["difference"]["low"], own["difference"]["high"]) == pytest.approx(tuple(interval), abs=2e-4)
            found += 1
    assert found == 8 * sum(len(LEGS[leg].methods) - 1 for leg in TOPICS)


@pytest.mark.parametrize("leg", TOPICS)
@pytest.mark.parametrize("column, groups", [("1:1", PAIRS), ("1:2", PAIRS), ("ensemble 1:1", PAIRS), ("1:1:1", TRIPLES)])
def test_differences_of_fusions_know_that_they_share_seeds(leg: str, column: str, groups: list[tuple[int, ...]]) -> None:
    scores = TOPICS[leg]["merging"]["scores"][column]
    expected = paired_difference(scores["CoTo"]["values"], scores["LoRA"]["values"], groups)
    assert scores["CoTo"]["difference"] == pytest.approx(asdict(expected), abs=2e-4)


# The gallery


@pytest.mark.parametrize("leg", [LEGS[name] for name in TOPICS], ids=lambda leg: leg.name)
def test_accuracies_are_those_of_the_gallery(leg: Leg) -> None:
    runs = manifest()["runs"]
    for method, own in TOPICS[leg.name]["accuracy"]["scores"].items():
        of_tasks = [[100 * runs[run_name(method, seed, task=task)]["accuracy"] for seed in range(5)] for task in leg.tasks]
        assert own["values"] == pytest.approx(np.mean(of_tasks, axis=0), abs=1e-3)


@pytest.mark.parametrize("task", [STRINGS.tasks[0]])
def test_a_fusion_of_the_strings_scores_what_is_written(task: str) -> None:
    adapters = load_adapters("CoTo", task)
    fused = merge([adapters[1], adapters[3]])
    written = EVIDENCE["strings"]["fusion"]["CoTo"][short(task)]["fused"]["values"][PAIRS.index((1, 3))]
    assert Lab(STRINGS, task).score([fused]) == pytest.approx([written], abs=0.4)  # other machines round otherwise: two strings


def test_a_fusion_and_a_run_of_the_sweep_score_what_is_written(task: Task) -> None:
    fused = merge([load_run("coto-seed1"), load_run("coto-seed3")])
    lowest = min(float(lr) for lr in EVIDENCE["sweep"]["earlier"]["LoRA"])
    scores = 100 * Evaluator(task)([Variant(fused), Variant(load_sweep("LoRA", lowest)[4])]).accuracy
    written = EVIDENCE["merging"]["scores"]["1:1"]["CoTo"]["values"][PAIRS.index((1, 3))]
    assert scores[0].item() == pytest.approx(written, abs=0.2)  # other machines round otherwise: three images
    assert scores[1].item() == pytest.approx(EVIDENCE["sweep"]["earlier"]["LoRA"][f"{lowest:g}"]["values"][4], abs=0.2)


# The tools


@pytest.mark.parametrize(
    "low, counts, verdict",
    [
        ((1, 1), {}, "holds"),
        ((1, -1), {}, "inconclusive"),
        ((-1, -9), {}, "does not hold"),
        ((), {"runs": (5, 5)}, "holds"),
        ((), {"runs": (5, 5), "pairs": (9, 10)}, "does not hold"),
    ],
)
def test_a_claim_is_as_good_as_its_worst_part(low: tuple[float, ...], counts: dict, verdict: str) -> None:
    parts = {str(end): Difference(end + 2, end, end + 4, 5) for end in low}
    claim = Claim(1, "a claim", "a paper", "above" if parts else "count", parts, counts)
    assert claim.verdict == claim.to_json()["verdict"] == verdict


def test_averages_are_leaf_by_leaf_and_one_task_stays_as_it_is() -> None:
    one = {"a": {"x": torch.tensor([1.0, 2.0])}, "b": torch.tensor(3)}
    other = {"a": {"x": torch.tensor([3.0, 6.0])}, "b": torch.tensor(4)}
    assert averaged([one]) is one
    found = averaged([one, other])
    assert found["a"]["x"].tolist() == [2, 4] and found["b"].item() == 3.5


def test_a_claim_of_both_legs_is_one_row_and_a_dash_where_it_was_not_measured() -> None:
    def claim(text: str, topic: int, *ends: float) -> Claim:
        return Claim(
            topic, text, "a paper", "above", {str(i): Difference(end + 2, end, end + 4, 5) for i, end in enumerate(ends)}
        )

    digits = [claim("late", 2, 1.0, 1.0), claim("early", 1, 1.0), claim("unsure", 1, 1.0)]
    strings = [claim("late", 2, -9.0, 2.0), claim("unsure", 1, -1.0)]
    rows = claim_rows({"digits": digits, "strings": strings}, {"a task": strings})
    assert [row["text"] for row in rows] == ["early", "unsure", "late"]
    assert [cell(row, row["legs"].get("strings")) for row in rows] == [
        "–",
        "**inconclusive**<br>0: +1.0 [-1.0, +3.0]",
        "**does not hold**<br>0: -7.0 [-9.0, -5.0]<br>1: +4.0 [+2.0, +6.0]",
    ]
    assert list(rows[0]["tasks"]) == [] and list(rows[2]["tasks"]) == ["a task"]
    opposite, unsure = disagreements(rows)
    assert opposite == [
        "late: on the digits the difference is 0: +3.0 [+1.0, +5.0], and the claim holds; on the strings the difference is "
        "0: -7.0 [-9.0, -5.0], and the claim does not hold."
    ]
    assert len(unsure) == 1 and unsure[0].endswith("the difference is 0: +1.0 [-1.0, +3.0], and the claim is inconclusive.")


def test_a_run_withstands_rates_from_its_best_one_up() -> None:
    scores = {"0.25": [10, 90, 90], "0.5": [90, 80, 70], "1": [80, 10, 80], "2": [10, 80, 90]}
    own = {rate: {"values": values} for rate, values in scores.items()}
    assert edges(own, stands=50) == [0, -1, 1]


def test_the_remembering_evaluator_scores_the_same_and_nothing_twice(
    tiny_task: Task, runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = torch.tensor([[True, False, True, True], [False, False, True, False]])
    variants = [Variant(run.adapter, mask, f"{i}") for i, run in enumerate(runs) for mask in masks]
    asked: list[int] = []
    score = Evaluator.__call__
    monkeypatch.setattr(
        Evaluator, "__call__", lambda self, new, **split: (asked.append(len(new)), score(self, new, **split))[1]
    )
    remembering = RememberingEvaluator(tiny_task)
    first, expected = remembering(variants[:3]), score(Evaluator(tiny_task), variants, outputs=True)
    again = remembering(variants)
    assert asked == [3, 1]
    assert again.names == expected.names and torch.equal(again.labels, expected.labels)
    torch.testing.assert_close(again.logits, expected.logits)
    assert torch.equal(again.logits[:3], first.logits)
