"""The numbers of the playground's figures: what ships agrees with the evidence, and what is missing is named."""

from __future__ import annotations

import json
import sys
from math import factorial
from pathlib import Path

import numpy as np
import pytest
import torch

from coto_lab import Evaluator, Variant, load_task, merge
from coto_lab.studies.gallery import SWEPT, load_adapters, run_name

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "pages"), str(ROOT / "data")]
EVIDENCE = json.loads((ROOT / "data/evidence/evidence.json").read_text(encoding="utf-8"))
MASKS = json.loads((ROOT / "data/evidence/masks.json").read_text(encoding="utf-8"))
EXACT = pytest.approx
AS_WRITTEN = {"abs": 1e-4}  # evidence.json has four digits after the point
PART = 410


def right(method: str) -> np.ndarray:
    """Accuracy in %, ``[seeds, 256]``."""
    return np.array([MASKS["right"][run_name(method, seed)] for seed in range(5)]) * 100 / PART


def opened(place: int) -> int:
    return bin(place).count("1")


@pytest.mark.parametrize("method", SWEPT)
def test_choices_of_blocks_have_the_evidence_as_their_means(method: str) -> None:
    half = right(method)[:, [opened(place) == 4 for place in range(256)]]
    known = EVIDENCE["stability"]["open"]

    assert half.mean(1).tolist() == EXACT(known["mean mask"][method]["values"], **AS_WRITTEN)
    assert half.min(1).tolist() == EXACT(known["worst mask"][method]["values"], **AS_WRITTEN)


@pytest.mark.parametrize("method", SWEPT)
def test_choices_of_blocks_have_the_evidences_shapley_values(method: str) -> None:
    for seed, scores in enumerate(right(method)):
        found = shapley_by_definition(scores)
        assert found == EXACT([block["values"][seed] for block in EVIDENCE["shapley"]["blocks"][method]], **AS_WRITTEN)


def shapley_by_definition(scores: np.ndarray) -> list[float]:
    def weight(others: int) -> float:
        return factorial(others) * factorial(7 - others) / factorial(8)

    return [
        sum(weight(opened(p)) * (scores[p | 1 << block] - scores[p]) for p in range(256) if not p >> block & 1)
        for block in range(8)
    ]


def test_fused_pairs_are_scored_as_an_evaluator_scores_them() -> None:
    from make_masks import one_shut, pair_name

    part = load_task("digits").every(4)
    adapters = load_adapters("CoTo")
    fused = merge([adapters[1], adapters[4]])
    places = [0, 4]
    scores = Evaluator(part)([Variant(fused, one_shut()[place]) for place in places])

    known = MASKS["fused"][pair_name("CoTo", (1, 4))]
    assert (scores.accuracy * PART).round().int().tolist() == [known[place] for place in places]
    assert torch.equal(one_shut()[4], torch.tensor([block != 3 for block in range(8)]))


def test_missing_numbers_are_named(tmp_path: Path) -> None:
    from playground_figures import claim, figures

    (tmp_path / "data/evidence").mkdir(parents=True)
    short = {**MASKS, "right": {name: own for name, own in MASKS["right"].items() if name != "coto-seed2"}}
    for name, content in (("evidence.json", EVIDENCE), ("masks.json", short)):
        (tmp_path / "data/evidence" / name).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=r"lacks coto-seed2\. Run: python data/make_masks\.py"):
        figures(tmp_path)
    with pytest.raises(KeyError, match="no claim 'CoTo is purple' in topic 3"):
        claim(EVIDENCE, 3, "CoTo is purple")
