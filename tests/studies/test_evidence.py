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
from coto_lab.studies.gallery import METHODS, load_run, load_sweep, manifest, run_name
from coto_lab.studies.statistics import Difference, paired_difference

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "data"))  # the folder of make_evidence.py, as when it runs

from coto_lab.studies.evidence.lab import RememberingEvaluator  # noqa: E402
from coto_lab.studies.evidence.page import here, page  # noqa: E402
from coto_lab.studies.evidence.records import PAIRS, TRIPLES, Claim  # noqa: E402

FOLDER = ROOT / "data" / "evidence"
EVIDENCE = json.loads((FOLDER / "evidence.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "EVIDENCE.md").read_text(encoding="utf-8")


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


def test_every_claim_has_its_row_with_its_numbers_and_verdict() -> None:
    rows = [line for line in PAGE.splitlines() if line.endswith("** |")]
    assert len(rows) == len(EVIDENCE["claims"]) >= 20
    for row, claim in zip(rows, EVIDENCE["claims"], strict=True):
        cells = row.strip("| ").split(" | ")
        assert cells == [
            str(claim["topic"]),
            claim["text"],
            claim["paper"],
            here(claim),
            claim["grid"],
            f"**{claim['verdict']}**",
        ]


def test_figures_are_those_of_the_page() -> None:
    shown = re.findall(r"\]\(data/evidence/(\w+\.png)\)", PAGE)
    files = list(FOLDER.glob("*.png"))
    assert sorted(shown) == sorted(file.name for file in files)
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    assert sum(file.stat().st_size for file in files) < 1.5e6


# The numbers


@pytest.mark.parametrize("claim", EVIDENCE["claims"], ids=lambda claim: claim["text"])
def test_verdicts_follow_from_the_intervals(claim: dict[str, Any]) -> None:
    parts = [Difference(**part) for part in claim["parts"].values()]
    assert all(part.low <= part.mean <= part.high and (part.n, part.level) == (5, 0.95) for part in parts)
    found = {part.verdict(claim["kind"], claim["margin"]) for part in parts}
    found |= {"holds" if fitting == total else "does not hold" for fitting, total in claim["counts"].values()}
    worst = next(verdict for verdict in ("does not hold", "inconclusive", "holds") if verdict in found)
    assert claim["verdict"] == worst


def test_means_and_deviations_are_those_of_the_values() -> None:
    summaries = [node for node in nodes(EVIDENCE) if "values" in node]
    assert len(summaries) > 100
    for node in summaries:
        assert node["n"] == len(node["values"])
        assert (node["mean"], node["sd"]) == pytest.approx((np.mean(node["values"]), np.std(node["values"], ddof=1)), abs=2e-4)


def test_differences_over_seeds_are_student_s() -> None:
    found = 0
    for column in [EVIDENCE["accuracy"]["scores"], *EVIDENCE["pruning"]["scores"].values()]:
        for own in (column[method] for method in METHODS if method != "LoRA"):
            interval = ttest_rel(own["values"], column["LoRA"]["values"]).confidence_interval()
            assert (own["difference"]["low"], own["difference"]["high"]) == pytest.approx(tuple(interval), abs=2e-4)
            found += 1
    assert found == 8 * 5


@pytest.mark.parametrize("column, groups", [("1:1", PAIRS), ("1:2", PAIRS), ("ensemble 1:1", PAIRS), ("1:1:1", TRIPLES)])
def test_differences_of_fusions_know_that_they_share_seeds(column: str, groups: list[tuple[int, ...]]) -> None:
    scores = EVIDENCE["merging"]["scores"][column]
    expected = paired_difference(scores["CoTo"]["values"], scores["LoRA"]["values"], groups)
    assert scores["CoTo"]["difference"] == pytest.approx(asdict(expected), abs=2e-4)


# The gallery


def test_accuracies_are_those_of_the_gallery() -> None:
    runs = manifest()["runs"]
    for method, own in EVIDENCE["accuracy"]["scores"].items():
        assert own["values"] == pytest.approx([100 * runs[run_name(method, seed)]["accuracy"] for seed in range(5)], abs=1e-3)


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
