"""Magnitude pruning, by hand and against PEFT."""

from __future__ import annotations

import math

import pytest
import torch
from merging_cases import assert_updates, by_peft, dense, lora, of_update, only, weighted

from coto_lab import merge
from coto_lab.merging.dare import Dare
from coto_lab.merging.ensemble import Ensemble
from coto_lab.merging.magnitude import Magnitude, largest
from coto_lab.merging.svd import Svd
from coto_lab.merging.task_arithmetic import TaskArithmetic
from coto_lab.merging.ties import Ties

UPDATE = torch.tensor([[6.0, -5, 1], [0.5, 4, 0]])


def test_by_hand() -> None:
    assert largest(UPDATE, 0.5).tolist() == [[6, -5, 0], [0, 4, 0]]
    assert largest(UPDATE, 0.4).tolist() == [[6, -5, 0], [0, 0, 0]]  # 2.4 of six: the whole number below
    assert largest(UPDATE, 0.01).tolist() == [[6, 0, 0], [0, 0, 0]]  # at least one
    assert torch.equal(largest(UPDATE, 1.0), UPDATE)
    merged = merge([of_update(UPDATE), of_update(-2 * UPDATE.flip(0))], Magnitude(0.5, TaskArithmetic(0.5)), [1.0, 2.0])
    expected = torch.tensor([[3.0, -2.5 - 8, 0], [-12.0, 2 + 10, 0]], dtype=torch.float64)
    torch.testing.assert_close(only(merged), expected)


@pytest.mark.parametrize("density", [0.2, 0.7])
def test_it_is_pefts_magnitude_pruning_of_updates(density: float) -> None:
    adapters, weights = [lora(0, r=2), lora(1, r=3, alpha=9)], [0.3, 0.7]
    merged = merge(adapters, Magnitude(density, TaskArithmetic(1.0)), weights)
    expected = by_peft(adapters, weights, "magnitude_prune_svd", density=density, svd_rank=16)
    assert_updates(dense(merged), expected)


def test_with_every_entry_it_is_the_rule_that_mixes() -> None:
    adapters = [lora(0), lora(1)]
    assert_updates(dense(merge(adapters, Magnitude(1, TaskArithmetic(0.3)))), weighted(adapters, [0.3, 0.3]))
    assert_updates(dense(merge(adapters, Magnitude(1, Ensemble()))), weighted(adapters, [0.5, 0.5]))


def test_weights_are_those_of_the_rule_that_mixes() -> None:
    assert not Magnitude().averages and not Magnitude(of=Ties()).averages
    assert Magnitude(of=Ensemble()).averages and Magnitude(of=Dare(of=Ensemble())).averages


@pytest.mark.parametrize("density", [0, 1.5, math.nan, True, "0.5"])
def test_a_density_that_is_no_share_is_refused(density: object) -> None:
    with pytest.raises(ValueError, match=r"density=.*: (must be a number|the share of entries that are kept must be above 0)"):
        Magnitude(density)  # type: ignore[arg-type]


@pytest.mark.parametrize("of", [None, "ties", Ties, Svd()], ids=str)
def test_what_mixes_is_a_rule_on_entries(of: object) -> None:
    with pytest.raises(
        TypeError, match=r"of=.*: give a rule that mixes updates entry by entry, such as TaskArithmetic\(0\.3\)"
    ):
        Magnitude(of=of)  # type: ignore[arg-type]
