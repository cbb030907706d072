"""Sentences that say what the numbers say, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from coto_lab.probes.pruning import PruningTable
from coto_lab.probes.shapley import ShapleyValues
from coto_lab.probes.sparsity import SparsityCurve
from coto_lab.probes.stability import Stability
from coto_lab.report import Report, words
from coto_lab.report.measures import Measures
from coto_lab.scoring.scores import Scores


@pytest.fixture
def measured(one: Report) -> Measures:
    """Real measurements of 45 examples; each test puts numbers of its own into a part."""
    return one.measures[0]


def scores(right: list[list[int]]) -> Scores:
    correct = torch.tensor(right, dtype=torch.float64)
    return Scores(("base", "adapter"), {"correct": correct, "loss": 1 - correct})


def said(sentences: list[str]) -> str:
    return " ".join(sentences)


def test_numbers() -> None:
    assert words.percent(0.9585) == "95.9%" and words.percent(-0.0001) == "0.0%" and words.percent(0.5, 0) == "50%"
    assert words.points(0.0123) == "1.2" and words.points(-0.0001) == "0.0"
    assert words.standard_error(torch.tensor([0.0, 1.0, 0.0, 1.0])) == pytest.approx((1 / 3) ** 0.5 / 2)
    assert [words.listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert "on 100 test examples, where the standard error of a share is at most 5.0 points" in words.of_examples(100)


def test_a_clear_difference_and_one_that_is_none(measured: Measures) -> None:
    clear = replace(measured, scores=scores([[0] * 8, [1] * 6 + [0] * 2]), examples=8)
    text = said(words.score_words(clear))
    assert "classifies 75.0% of 8 test examples correctly (standard error 16.4 points)" in text
    assert "is right 75.0 points more often (standard error 16.4), and its mean loss is 0.750 nats lower" in text
    worse = replace(measured, scores=scores([[1] * 6 + [0] * 2, [0] * 8]), examples=8)
    assert "75.0 points less often" in said(words.score_words(worse)) and "nats higher" in said(words.score_words(worse))
    none = replace(measured, scores=scores([[0, 1, 0, 1], [1, 0, 0, 1]]), examples=4)
    assert "do not show that the adapter changes the share of right answers" in said(words.score_words(none))
    same = replace(measured, scores=scores([[0, 1], [0, 1]]), examples=2)
    assert "do not show" in said(words.score_words(same)), "0 of 0 is no difference either"


def test_blocks_that_matter_and_those_that_may_not(measured: Measures) -> None:
    values, error = torch.tensor([0.3, 0.01, 0.09]), torch.tensor([0.01, 0.01, 0.02])
    game = ShapleyValues(("l.0", "l.1", "l.2"), values.double(), "accuracy", "exact", 0.2, 0.6, error.double())
    text = said(words.game_words(replace(measured, blocks={"accuracy": game})))
    assert "all 8 coalitions of the 3 blocks, on 45 test examples" in text and "Together the blocks add 40.0 points" in text
    assert "adds most is 0 (30.0 ± 1.0 points, 75% of the total); least adds 1 (1.0 ± 1.0 points)" in text
    assert "Of block 1 the value is within 2 standard errors of 0: whether it adds anything is inconclusive." in text
    vague = replace(game, standard_error=game.values.abs())
    text = said(words.game_words(replace(measured, blocks={"accuracy": vague})))
    assert "so which blocks matter is inconclusive" in text and "adds most" not in text
    harmful = replace(game, v_full=0.1)
    assert "of the total" not in said(words.game_words(replace(measured, blocks={"accuracy": harmful})))
    alone = ShapleyValues(("l.0",), values[:1].double(), "accuracy", "exact", 0.2, 0.5, None)
    assert "on one block only" in said(words.game_words(replace(measured, blocks={"accuracy": alone})))


def test_patterns_stability_and_sparsity(measured: Measures) -> None:
    names, accuracy = ("all", "low third", "only q", "none"), torch.tensor([0.9, 0.7, 0.6, 0.5], dtype=torch.float64)
    table = PruningTable(names, torch.tensor([1.0, 0.25, 0.5, 0.0]).double(), accuracy, 1 - accuracy)
    text = said(words.pattern_words(replace(measured, patterns=table)))
    assert "“low third” scores best: with 25% of the modules it classifies 70.0% correctly, which keeps 50% of the gain" in text
    masks = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).bool()
    stable = Stability(masks, torch.tensor([0.1, 0.4, 0.6, 0.9]).double(), torch.zeros(4).double())
    text = said(words.stability_words(replace(measured, stability=stable)))
    assert "with 1 of the 2 blocks open it classifies 50.0% correctly on average over 2 choices" in text
    assert "from 40.0% for the worst to 60.0% for the best choice" in text
    sparse = SparsityCurve(
        torch.tensor([0, 0.5, 0.7, 1]).double(), torch.tensor([0.9, 0.895, 0.5, 0.895]).double(), torch.zeros(4)
    )
    text = said(words.sparsity_words(replace(measured, sparsity=sparse)))
    assert "smallest 50% of the entries" in text and "Up to a sparsity of 50% it loses at most 1.0 point" in text
    assert "has no factors A and B" in said(words.sparsity_words(replace(measured, sparsity=None)))
    assert "has no update ΔW" in said(words.spectra_words(replace(measured, spectra=None)))


def test_masks_of_ones_own_and_of_a_plan(measured: Measures) -> None:
    half = torch.tensor([[True, False], [False, True]])
    assert "over 2 steps, which saved 50.0% of the adapters' work and 25.0% of the backward" in said(
        words.mask_words(replace(measured, masks=half))
    )
    planned = said(words.mask_words(replace(measured, masks=half, own_masks=False)))
    assert "over 1000 steps with its linear ramp (seed 0), CoTo's masks would have saved 50.0%" in planned
    lone = replace(measured, masks=torch.ones(2, 1, dtype=torch.bool))
    assert "is on one block, which CoTo never drops" in said(words.mask_words(lone))


def test_numbers_and_answers_that_are_right_in_part_are_called_so(measured: Measures) -> None:
    assert (measured.unit, measured.headings) == (" nats", ("accuracy, %", "loss, nats"))
    numbers = replace(measured, does="predicts", scores=scores([[0] * 8, [1] * 6 + [0] * 2]), examples=8)
    text = said(words.score_words(numbers))
    assert "predicts 75.0% of 8 test examples correctly" in text and "its mean loss is 0.750 lower." in text
    assert "if it is within 0.5 of the right number; the accuracy is the share of these. The loss is the squared error." in text
    assert numbers.headings == ("within 0.5, %", "squared error")
    partly = replace(measured, scores=scores([[0, 0], [0.5, 1]]), examples=2)
    assert "An answer may be right in part" in said(words.score_words(partly)) and partly.headings[0] == "mean score, %"


def test_one_example_has_no_standard_error(measured: Measures) -> None:
    text = said(words.score_words(replace(measured, scores=scores([[0], [1]]), examples=1)))
    assert "(one example has no standard error)" in text and "nan" not in text
    assert "nan" not in words.of_examples(1)
