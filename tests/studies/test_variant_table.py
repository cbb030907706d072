"""The table of variants: its numbers by hand and by SciPy, and what the fusion of each method averages."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import ttest_rel

from coto_lab import Adapter, Task, merge
from coto_lab.studies.variant_table import (
    FACTORS,
    FUSIONS,
    GENERATORS,
    ONE_START,
    PAIRS,
    SCORES,
    UPDATES,
    VECTORS,
    fusion_of,
    gains,
    table_of,
)
from coto_lab.studies.variants import COTO, ENTRIES, PLAIN, WAYS, recipe_of

# The numbers


def part(lr: float, *accuracy: float) -> dict[str, Any]:
    """Scores of five seeds; those of pairs are the means of their seeds."""
    halves = [(accuracy[i] + accuracy[j]) / 2 for i, j in PAIRS]
    return {
        "lr": lr,
        "alone": list(accuracy),
        "pruned": [value - 10 for value in accuracy],
        "fused": halves,
        "ensemble": halves,
    }


LEG = {
    "runs": {
        "LoRA": {PLAIN: part(0.01, 90, 91, 92, 93, 94), COTO: part(0.03, 93, 93, 95, 95, 96)},
        "IA3": {PLAIN: part(0.3, 60, 62, 61, 63, 60), COTO: part(0.1, 50, 55, 51, 58, 50)},
    },
    "cost": {
        "LoRA": {"parameters": 12288, "step": 1.0, "measured": 0.21, "predicted": 0.25},
        "IA3": {"parameters": 1536, "step": 0.9, "measured": -0.01, "predicted": 0.0},
    },
}


@pytest.mark.parametrize("score", SCORES)
def test_gains_are_paired_and_pairs_of_seeds_count_as_five_seeds(score: str) -> None:
    """The mean over the pairs without a seed is here the mean over the other seeds, so every score has the same interval."""
    for name, found in gains(LEG, score).items():
        own = LEG["runs"][name]
        expected = ttest_rel(own[COTO]["alone"], own[PLAIN]["alone"]).confidence_interval()
        assert (found.low, found.high, found.n) == pytest.approx((*expected, 5))
        assert found.mean == pytest.approx(np.mean(own[COTO]["alone"]) - np.mean(own[PLAIN]["alone"]))


def test_an_unknown_score_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"score='loss': must be one of 'alone', 'pruned', 'fused', 'ensemble'"):
        gains(LEG, "loss")


def test_the_table_has_a_row_per_method_with_all_its_numbers() -> None:
    row = table_of(LEG).loc["LoRA"]
    assert (row["held equal"], row["parameters"], row["fusion of"]) == ("rank 4", 12288, FACTORS)
    assert (row["rate, plain"], row["rate, CoTo"]) == (0.01, 0.03)
    assert (row["alone, plain"], row["alone, plain, sd"]) == pytest.approx((92, np.sqrt(2.5)))
    assert (row["pruned, CoTo"], row["pruned, CoTo - plain"]) == pytest.approx((84.4, 2.4))
    assert row["fused, low"] < row["fused, CoTo - plain"] < row["fused, high"]
    assert (row["step"], row["saving, measured"], row["saving, predicted"]) == pytest.approx((1, 21, 25))


def test_the_table_can_be_sorted_by_every_number() -> None:
    table = table_of(LEG)
    words = [column for column in table if not pd.api.types.is_numeric_dtype(table[column])]
    assert words == ["held equal", "fusion of"] and table.index.name == "method"
    assert list(table.sort_values("parameters").index) == ["IA3", "LoRA"]
    assert {f"{score}, {way}" for score in SCORES for way in WAYS} < set(table.columns)


# What is averaged


def adapters(task: Task, name: str) -> tuple[list[Adapter], list[Adapter]]:
    """Two adapters of a method as they start, and after every trained number was moved at random."""
    recipe = recipe_of("digits", name, PLAIN, 1e-3, 0)
    starts, moved = [], []
    for seed in (0, 1):
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="method .* moves a part of the base")
            torch.manual_seed(seed)
            model = recipe.put_on(task.load_base(), task.target_modules)
            starts.append(Adapter.from_model(model))
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.requires_grad:
                        parameter.add_(torch.randn_like(parameter) / 10)
            moved.append(recipe.adapter_method.finished(Adapter.from_model(model), starts[-1]))
    return starts, moved


@pytest.mark.parametrize("name", ENTRIES)
def test_a_fusion_averages_what_is_said(task: Task, name: str) -> None:
    kind = fusion_of(recipe_of("digits", name, PLAIN, 1e-3, 0).adapter_method)
    starts, moved = adapters(task, name)
    base = task.load_base()
    fused, *updates = (adapter.update(base) for adapter in (merge(moved), *moved))
    apart = max((fused[key] - (updates[0][key] + updates[1][key]) / 2).abs().max().item() for key in fused)
    assert (apart < 1e-4) == (kind == UPDATES)  # the fusion is the ensemble
    shared = [key for key, tensor in moved[0].tensors.items() if torch.equal(tensor, moved[1].tensors[key])]
    same_start = all(torch.equal(tensor, starts[1].tensors[key]) for key, tensor in starts[0].tensors.items())
    assert bool(shared) == (kind == VECTORS)  # the random matrices
    if kind in (ONE_START, FACTORS):
        assert same_start == (kind == ONE_START)


@pytest.mark.parametrize(
    ("name", "kept"), [("LoRA", 1 / 4), ("HiRA", 1 / 4), ("LoKr", 1 / 8), ("LoHa", 1 / 16), ("MiSS", 1 / 2)]
)
def test_a_half_of_an_adapter_keeps_its_share_of_the_update(task: Task, name: str, kept: float) -> None:
    adapter = adapters(task, name)[1][0]
    base = task.load_base()
    whole, half = adapter.update(base), merge([adapter], weights=[0.5]).update(base)
    for key in whole:
        torch.testing.assert_close(half[key], kept * whole[key], rtol=1e-4, atol=1e-5)


def test_every_kind_of_fusion_has_its_reason_and_its_methods() -> None:
    kinds = {name: fusion_of(recipe_of("digits", name, PLAIN, 1e-3, 0).adapter_method) for name in ENTRIES}
    assert set(kinds.values()) == set(FUSIONS)
    assert [name for name, kind in kinds.items() if kind == GENERATORS] == ["OFT", "BOFT"]
    assert [name for name, kind in kinds.items() if kind == UPDATES] == ["MiSS", "IA3"]
