"""Task arithmetic: a sum of updates, against dense arithmetic and PEFT's ``cat``."""

from __future__ import annotations

import math

import pytest
import torch
from merging_cases import assert_updates, by_peft, dense, lora, weighted

from coto_lab import merge
from coto_lab.merging.task_arithmetic import TaskArithmetic


@pytest.mark.parametrize("weights", [[1, 1, 1], [0.2, -0.5, 1.5]], ids=str)
def test_it_is_the_scaled_sum_of_updates(weights: list[float]) -> None:
    adapters = [lora(0, r=2), lora(1, r=3, alpha=5, use_rslora=True), lora(2, r=1, alpha=0.5)]
    merged = merge(adapters, TaskArithmetic(scale=0.4), weights)
    assert merged.config["r"] == 6
    assert_updates(dense(merged), weighted(adapters, [0.4 * weight for weight in weights]))


def test_without_weights_updates_are_added() -> None:
    adapters = [lora(0), lora(1)]
    assert_updates(dense(merge(adapters, "cat")), weighted(adapters, [1, 1]))
    assert_updates(dense(merge(adapters, "task arithmetic")), weighted(adapters, [0.3, 0.3]))


def test_a_negative_weight_takes_a_task_away() -> None:
    first, second = lora(0), lora(1)
    both = merge([first, second], "cat")
    assert_updates(dense(merge([both, second], "cat", [1, -1])), dense(first))


def test_it_is_pefts_cat() -> None:
    adapters, weights = [lora(0, r=2), lora(1, r=3, alpha=9)], [0.3, 0.7]
    assert_updates(dense(merge(adapters, "cat", weights)), by_peft(adapters, weights, "cat"))


def test_pefts_cat_of_rank_stabilised_adapters_is_too_large_and_ours_is_not() -> None:
    adapters, weights = [lora(0, use_rslora=True), lora(1, use_rslora=True)], [0.3, 0.7]
    expected = weighted(adapters, weights)
    assert_updates(dense(merge(adapters, "cat", weights)), expected)
    too_large = {name: math.sqrt(4) * update for name, update in expected.items()}  # of the rank 2 + 2
    assert_updates(by_peft(adapters, weights, "cat"), too_large)


@pytest.mark.parametrize("scale", [math.nan, math.inf, "0.3", None, True])
def test_a_scale_that_is_no_finite_number_is_refused(scale: object) -> None:
    with pytest.raises(ValueError, match=r"scale=.*: must be a (finite )?number"):
        TaskArithmetic(scale=scale)  # type: ignore[arg-type]


def test_a_scale_of_another_kind_becomes_a_float() -> None:
    assert TaskArithmetic(scale=torch.tensor(0.5).numpy()[()]).scale == 0.5  # type: ignore[arg-type]
