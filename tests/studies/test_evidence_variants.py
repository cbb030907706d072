"""Section 14 of EVIDENCE.md: verdicts by hand, and what ships says what the table and the adapters say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from coto_lab import Evaluator, Task, Variant
from coto_lab.studies.evidence import variants
from coto_lab.studies.evidence.page import of_legs
from coto_lab.studies.evidence.variants_text import text
from coto_lab.studies.gallery import evidence
from coto_lab.studies.variant_table import PAIRS, SCORES, gains
from coto_lab.studies.variants import COTO, ENTRIES, PLAIN, TASKS, WAYS, load_variant, table

ROOT = Path(__file__).parents[2]

# By hand


def part(
    alone: float, pruned: float, tried: tuple[str, ...] = ("0.003", "0.01", "0.03"), **more: list[float]
) -> dict[str, Any]:
    """Five seeds around a mean; pairs have the mean of their seeds."""
    own = [alone + step for step in (-0.2, -0.1, 0.0, 0.1, 0.2)]
    halves = [(own[i] + own[j]) / 2 for i, j in PAIRS]
    sweep = {rate: [1.0] for rate in tried}
    return {"lr": float(tried[1]), "sweep": sweep, "alone": own, "fused": halves, "ensemble": halves} | {
        "pruned": [pruned - step for step in (-0.2, -0.1, 0.0, 0.1, 0.2)],
        **more,
    }


def shut(pruned: float) -> dict[str, list[float]]:
    return {"pruned_as_trained": [pruned + step for step in (-0.1, 0.1, 0.0, 0.1, -0.1)], "none_as_trained": [11.0]}


WIDE = ("0.001", "0.003", "0.01", "0.03", "0.1")
RUNS = {
    "LoRA": {PLAIN: part(90, 80, WIDE), COTO: part(90, 88, WIDE)},
    "rsLoRA": {PLAIN: part(91, 80), COTO: part(92, 88, ("0.01", "0.03", "0.1"))},
    "PiSSA": {PLAIN: part(93, 80, **shut(50)), COTO: part(91, 74, **shut(74))},
    "LoRA-Pro": {PLAIN: part(92, 80), COTO: part(92, 90)},
    "MiSS": {PLAIN: part(89, 70), COTO: part(90, 70)},
}
COST = {"parameters": 12288, "step": 1.25, "measured": 0.214, "predicted": 0.25}
LEG = {"task": "digits", "base": "a base", "runs": RUNS, "cost": dict.fromkeys(RUNS, COST)}


def found(off: float = 0.0) -> dict[str, Any]:
    """What the kept adapters scored, ``off`` points beside the table."""
    kept = {name: {way: torch.tensor(own[way]["alone"][0] + off) for way in WAYS} for name, own in RUNS.items()}
    return {"base": torch.tensor(47.5), "kept": kept}


@pytest.fixture(scope="module")
def numbers() -> dict[str, Any]:
    return variants.judge(found(), LEG).numbers


@pytest.fixture(scope="module")
def said(numbers: dict[str, Any]) -> str:
    legs = {"digits": {"variants": numbers}, "docstrings": {}}  # the variants were not trained on the docstrings
    return text(legs)


def test_a_verdict_is_whether_coto_is_above_plain(numbers: dict[str, Any]) -> None:
    verdicts = {
        name: [own["scores"][score]["verdict"] for score in variants.CLAIMED] for name, own in numbers["methods"].items()
    }
    assert verdicts == {
        "LoRA": ["inconclusive", "holds", "inconclusive"],
        "rsLoRA": ["holds", "holds", "holds"],
        "PiSSA": ["does not hold", "does not hold", "does not hold"],
        "LoRA-Pro": ["inconclusive", "holds", "inconclusive"],
        "MiSS": ["holds", "inconclusive", "holds"],
    }
    assert "verdict" not in numbers["methods"]["LoRA"]["scores"]["ensemble"]  # the paper claims nothing of it


def test_the_summary_counts_the_verdicts(said: str) -> None:
    flat = " ".join(said.split())
    assert "Of the 15 verdicts in these tables, 7 hold, 3 do not, and 5 are inconclusive." in flat
    assert "about one interval in twenty misses, and so about 1 of these" in flat
    assert (
        "- On the digits, single adapters: of 5 methods CoTo is better with 2 (rsLoRA, MiSS), worse with 1 (PiSSA), and with 2 "
        "it is inconclusive."
    ) in said
    assert "better with 3 (LoRA, rsLoRA, LoRA-Pro), worse with 1 (PiSSA), and with 1 it is inconclusive." in said
    assert "With MiSS, the fusion is the ensemble" in said


def test_rates_and_the_sweeps_that_were_wider_are_told(said: str) -> None:
    flat = " ".join(said.split())
    assert "on the digits, of 5 methods it is higher with CoTo for 1, lower for 0, and the same for 4" in flat
    assert "was shortened to save time when these had been swept: LoRA on the digits." in flat


def test_the_table_of_costs_has_every_method(said: str) -> None:
    assert "| LoRA | rank 4 | factors | 12,288 | 0.003 | 0.003 | 1.25 | 21% | 25% |" in said
    assert "| PiSSA | equal rank | factors, one start | 12,288 | 0.01 | 0.01 | 1.25 | 21% | 25% |" in said


def test_methods_stand_beside_lora(numbers: dict[str, Any], said: str) -> None:
    against = {name: own["against"] for name, own in numbers["methods"].items()}
    assert "LoRA" not in against["LoRA"] and "rsLoRA" not in against["rsLoRA"]
    assert against["LoRA-Pro"]["LoRA"][PLAIN]["mean"] == 2 and against["LoRA-Pro"]["rsLoRA"][PLAIN]["mean"] == 1
    assert "- On the digits, LoRA-Pro is above LoRA, plain: holds +2.0 [+2.0, +2.0]; above LoRA, CoTo: holds" in said
    assert "above rsLoRA, CoTo: inconclusive +0.0 [+0.0, +0.0]." in said


def test_what_dropped_blocks_compute_is_compared(said: str) -> None:
    assert "- On the digits, PiSSA, plain: it matters." in said
    assert "- On the digits, PiSSA, CoTo: it does not matter." in said
    assert "| 11.0 (47.5) |" in said


def test_an_adapter_that_scores_otherwise_is_an_error() -> None:
    assert variants.judge(found(0.25), LEG).numbers["farthest"] == pytest.approx(0.25, abs=1e-4)
    other = found()
    other["kept"]["MiSS"][COTO] += 1.5
    with pytest.raises(ValueError, match=r"on 'digits' score otherwise .*\('MiSS', 'CoTo'\): 1\.5.*make variants"):
        variants.judge(other, LEG)


def test_the_figure_has_every_method_in_every_panel(numbers: dict[str, Any]) -> None:
    figure = variants.judge(found(), LEG).figures["variants"]
    assert [trace.name for trace in figure.data] == [SCORES[score] for score in variants.CLAIMED]
    for trace, score in zip(figure.data, variants.CLAIMED, strict=True):
        assert list(trace.y) == list(RUNS)
        assert list(trace.x) == [own["scores"][score]["difference"]["mean"] for own in numbers["methods"].values()]


# What ships


@pytest.mark.parametrize("leg", TASKS)
def test_the_numbers_are_those_of_the_table(leg: str) -> None:
    content = table()["legs"][leg]
    assert list(content["runs"]) == list(content["cost"]) == list(ENTRIES)
    own = of_legs(evidence())[leg]["variants"]
    kept = {name: {way: torch.tensor(runs[way]["alone"][0]) for way in WAYS} for name, runs in content["runs"].items()}
    again = variants.judge({"base": torch.tensor(own["base"]), "kept": kept}, content).numbers
    again |= {"base": own["base"], "farthest": own["farthest"]}
    assert json.loads(json.dumps(again)) == own
    for score in variants.CLAIMED:
        for name, difference in gains(content, score).items():
            assert own["methods"][name]["scores"][score]["verdict"] == difference.verdict("above")


def test_a_fusion_that_is_the_ensemble_scores_like_it() -> None:
    for leg in TASKS:
        for name in ("IA3", "MiSS"):
            for own in table()["legs"][leg]["runs"][name].values():
                assert own["fused"] == pytest.approx(own["ensemble"], abs=0.5)  # rounding may move an example


def test_kept_adapters_score_what_the_table_says(task: Task) -> None:
    pairs = [("LoRA-Pro", PLAIN), ("LoHa", COTO), ("VeRA", COTO)]
    scores = Evaluator(task)([Variant(load_variant("digits", name, way)) for name, way in pairs])
    runs = table()["legs"]["digits"]["runs"]
    for (name, way), accuracy in zip(pairs, scores.accuracy.tolist(), strict=True):
        assert 100 * accuracy == pytest.approx(runs[name][way]["alone"][0], abs=variants.ALLOWED)


def test_the_claims_of_the_page_are_without_the_variants() -> None:
    assert max(row["topic"] for row in evidence()["claims"]) < 14
    assert "variants" not in of_legs(evidence())["docstrings"]
    assert "## 14. Variants" in (ROOT / "EVIDENCE.md").read_text(encoding="utf-8")
