"""The comparison of merging rules: its options, its examples, and that it ships what it measured."""

from __future__ import annotations

import pytest
import torch

from coto_lab import Evaluator, Variant, load_task
from coto_lab.merging.registry import RULES
from coto_lab.merging.retrieval import choose
from coto_lab.studies.task_merging import (
    COUNTS,
    ENTRIES,
    FEW,
    RETRIEVED,
    Options,
    by_task,
    few_examples,
    retrieved_scores,
    scored,
    scored_examples,
    similarity,
    table,
    windows,
)
from coto_lab.studies.task_sets import GLYPHS, SEEDS, TASK_SETS, WAYS, load_joint_adapter, load_task_adapters


def test_every_rule_is_compared() -> None:
    assert set(RULES) < set(ENTRIES)
    every = [type(options.rule) for own in ENTRIES.values() for options in own]
    assert {type(rule) for rule in RULES.values()} == set(every)


def test_options_say_what_they_are() -> None:
    words = [str(options) for own in ENTRIES.values() for options in own]
    assert len(set(words)) == len(words)
    assert str(Options(RULES["fuse"], 0.25)) == "Fuse(), weights 0.25"


@pytest.mark.parametrize("tasks", TASK_SETS.values(), ids=list(TASK_SETS))
def test_options_are_chosen_on_training_examples(tasks: object) -> None:
    joint = few_examples(tasks)  # type: ignore[arg-type]
    assert [len(places) for places in joint.places("test")] == [FEW] * 6
    first = load_task(tasks.tasks[0])  # type: ignore[attr-defined]
    shown, train = joint.show("test", [0, FEW - 1]), first.show("train", [0, first.size("train") - 1])
    assert [(one.text, one.answer) for one in shown] == [(one.text, one.answer) for one in train]


@pytest.mark.parametrize("tasks", TASK_SETS.values(), ids=list(TASK_SETS))
def test_the_scored_examples_are_spread_over_each_test_set(tasks: object) -> None:
    joint = scored_examples(tasks)  # type: ignore[arg-type]
    sizes = [len(places) for places in joint.places("test")]
    assert all(tasks.most / 2 < size <= tasks.most for size in sizes)  # type: ignore[attr-defined]


def test_each_task_is_merged_as_often_as_the_others_as_pairs() -> None:
    for count in COUNTS:
        own = windows(GLYPHS, count)
        assert len(own) == (1 if count == 6 else 3) and all(len(set(places)) == count for places in own)
    assert sorted(place for places in windows(GLYPHS, 2) for place in places) == list(range(6))


def test_scores_are_those_of_each_task_by_itself() -> None:
    joint, adapters = scored_examples(GLYPHS, most=24), load_task_adapters(GLYPHS, "LoRA", 0)
    found = scored(joint, adapters[:2], "correct")
    for i, own in enumerate(joint.tasks):
        expected = 100 * Evaluator(own)([Variant(adapter) for adapter in adapters[:2]]).accuracy
        assert found[:, i].tolist() == pytest.approx(expected.tolist())


def test_retrieval_by_the_nearest_scores_each_input_with_the_chosen_adapter() -> None:
    joint, adapters = scored_examples(GLYPHS, most=24), load_task_adapters(GLYPHS, "LoRA", 0)
    alike = similarity(GLYPHS, joint)
    found = retrieved_scores(joint, alike, adapters, RETRIEVED["retrieval, nearest"]).values["correct"][0]
    each = Evaluator(joint)([Variant(adapter) for adapter in adapters]).values["correct"]
    chosen = choose(alike, 1)[:, 0]
    assert torch.equal(found, each[chosen, torch.arange(len(chosen))])


# What ships


@pytest.mark.parametrize("name", TASK_SETS)
def test_the_table_has_every_rule_way_and_seed(name: str) -> None:
    own = table()["sets"][name]
    assert own["tasks"] == list(TASK_SETS[name].tasks)
    assert list(own["rules"]) == [*ENTRIES, "zip", *RETRIEVED]
    for ways in own["rules"].values():
        for way in WAYS:
            scores = list(ways[way]["per_task"].values())
            assert [len(seeds) for seeds in scores] == [len(SEEDS)] * 6
            means = [sum(seed) / 6 for seed in zip(*scores, strict=True)]
            assert ways[way]["mean"] == pytest.approx(means, abs=1e-3)
    for rule, every in ENTRIES.items():
        for way in WAYS:
            tried = own["tried"][way][rule]
            assert list(tried) == [str(options) for options in every]
            assert own["options"][rule][way] == max(tried, key=tried.__getitem__)


def test_merged_adapters_score_what_the_table_says() -> None:
    own, joint = table()["sets"]["digits"], scored_examples(GLYPHS)
    adapters = load_task_adapters(GLYPHS, "CoTo", 1)
    rules = {str(options): options for options in ENTRIES["svd"]}
    merged = rules[own["options"]["svd"]["CoTo"]].merged(adapters)
    variants = [Variant(merged), Variant(load_joint_adapter(GLYPHS, "CoTo", 1))]
    scores = by_task(Evaluator(joint)(variants), joint, "correct")
    assert scores[0].tolist() == pytest.approx([own["rules"]["svd"]["CoTo"]["per_task"][t][1] for t in GLYPHS.tasks], abs=0.5)
    assert scores[1].tolist() == pytest.approx([own["frames"]["CoTo"]["joint"][t][1] for t in GLYPHS.tasks], abs=0.5)
