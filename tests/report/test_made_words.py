"""Sentences on mixtures and on the pruned adapter."""

from __future__ import annotations

from dataclasses import replace

import torch

from coto_lab.probes.interpolation import Curve
from coto_lab.report import Report
from coto_lab.report.fusing import Fusing
from coto_lab.report.made_words import fusing_words, kept_words
from coto_lab.scoring.scores import Scores


def said(sentences: list[str]) -> str:
    return " ".join(sentences)


def test_how_two_fuse(two: Report) -> None:
    curve = Curve(
        torch.tensor([0, 0.5, 1]).double(), torch.tensor([0.9, 0.6, 0.8]).double(), torch.tensor([0, 1.5, 1]).double(), "fuse"
    )
    merged = Scores(("fuse",), {"correct": torch.tensor([[1.0, 0.0]]).double(), "loss": torch.tensor([[0.0, 1.0]]).double()})
    text = said(fusing_words(two.measures, Fusing({"a to b": curve}, merged, None, 2)))
    assert "averages of those of both (fusion) classifies 50.0% correctly (measured on 2 test examples" in text
    assert "the ends are right on 90.0% and 80.0%; between them the loss rises by up to 1.000 nats" in text
    assert "the accuracy falls by up to 25.0 points below it" in text
    straight = replace(curve, accuracy=torch.tensor([0.9, 0.9, 0.9]).double(), loss=torch.zeros(3).double())
    text = said(fusing_words(two.measures, Fusing({"a to b": straight}, merged, None, 2)))
    assert "the loss does not rise" in text and "the accuracy does not fall" in text


def test_what_pruning_costs(one: Report) -> None:
    right = torch.tensor([[0.0] * 8, [1.0] * 8, [1.0] * 2 + [0.0] * 6]).double()
    kept = replace(one.kept, scores=Scores(("base", "adapter", "pruned"), {"correct": right, "loss": 1 - right}))
    text = said(kept_words(kept, one.measures[0]))
    assert "has the lowest loss of all 6 on 23 test examples" in text
    assert "On 8 other examples, which had no part in the choice, the pruned adapter classifies 25.0% correctly" in text
    assert "is -75.0 points with a standard error of 16.4." in text and "inconclusive" not in text
    same = replace(kept, scores=Scores(kept.scores.names, {"correct": right[[0, 1, 1]], "loss": 1 - right[[0, 1, 1]]}))
    assert "whether pruning changes the share of right answers is inconclusive" in said(kept_words(same, one.measures[0]))
    greedy = said(kept_words(replace(kept, every=False), one.measures[0]))
    assert "They were found by leaving out one block after another (6 choices were compared) on 23 test examples" in greedy
    whole = replace(kept, mask=torch.ones(4, dtype=torch.bool))
    text = said(kept_words(whole, one.measures[0]))
    assert text.startswith("All 4 blocks are kept, so nothing is pruned. The file has") and "inconclusive" not in text
