"""LoRA-LEGO: units that repeat come back, and lengths are corrected as the paper says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from merging_cases import MODULE, assert_updates, dense, lora, made, only, random_pair, weighted
from same import same

from coto_lab import Adapter, merge
from coto_lab.merging.lego import Lego


def permuted(adapter: Adapter, order: list[int]) -> Adapter:
    """The same units in another order."""
    tensors = {key: t[order] if "lora_A" in key else t[:, order] for key, t in adapter.tensors.items()}
    return replace(adapter, tensors=tensors)


def test_units_that_repeat_come_back_as_they_were() -> None:
    adapter = lora(0, r=3, alpha=5)
    twins = [adapter, permuted(adapter, [2, 0, 1]), permuted(adapter, [1, 0, 2])]
    for seed in range(3):
        assert_updates(dense(merge(twins, Lego(seed=seed))), dense(adapter))
    assert_updates(dense(merge(twins, Lego(), [0.1, 0.2, 3.0])), dense(adapter))  # weights are those of a mean


@pytest.mark.parametrize("rslora", [False, True])
def test_with_as_many_clusters_as_units_it_is_the_scaled_ensemble(rslora: bool) -> None:
    """Every unit is a cluster, so ΔW = √(r / Σr) Σ ΔWᵢ with the mean rank r = Σr / n: √n times the ensemble."""
    adapters = [lora(0, r=2, use_rslora=rslora), lora(1, r=3), lora(2, r=1)]
    merged = merge(adapters, Lego(rank=6))
    assert merged.config["r"] == 6
    assert_updates(dense(merged), weighted(adapters, [math.sqrt(1 / 3)] * 3))


def test_one_cluster_by_hand() -> None:
    """Two units [a; b] of the lengths 5 and 13, whose mean [3, 0, 4, 12]/2 is 6.5 long, and is brought to the length 9."""
    first = made(torch.tensor([[3.0, 0.0]]), torch.tensor([[4.0], [0.0]]))
    second = made(torch.tensor([[0.0, 5.0]]), torch.tensor([[0.0], [12.0]]))
    centre = torch.tensor([1.5, 2.5, 2.0, 6.0], dtype=torch.float64)
    centre *= 9 / centre.norm()
    torch.testing.assert_close(only(merge([first, second], "lego")), centre[2:, None] @ centre[None, :2])
    heavy = torch.tensor([0.75 * 3, 0.25 * 5, 0.75 * 4, 0.25 * 12], dtype=torch.float64)
    heavy *= (0.75 * 5 + 0.25 * 13) / heavy.norm()
    torch.testing.assert_close(only(merge([first, second], "lego", [3, 1])), heavy[2:, None] @ heavy[None, :2])


def test_the_output_is_multiplied_by_the_root_of_rank_over_clusters() -> None:
    """Two units of each of two adapters, all in one direction; their two clusters are brought to one."""
    a, b = torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    merged = only(merge([made(a, b)] * 2, Lego(rank=1)))
    expected = torch.zeros(2, 2, dtype=torch.float64)
    expected[0, 0] = math.sqrt(2 / 1) * 1.5 * 1.5
    torch.testing.assert_close(merged, expected)


def test_the_rank_is_by_default_the_highest() -> None:
    adapters = [lora(0, r=1), lora(1, r=3)]
    assert merge(adapters, Lego()).config["r"] == 3 and merge(adapters, Lego(rank=2)).config["r"] == 2
    assert same(merge(adapters, Lego(seed=1)), merge(adapters, Lego(seed=1)))


def test_units_that_nearly_repeat_leave_no_cluster_empty() -> None:
    a, b = random_pair(0)
    noise = torch.tensor([0.0, 1e-17, 1e-16, 1e-15, 1e-13])
    for rank in (4, 9, 12):
        merged = merge([made(a * (1 + e), b * (1 - e)) for e in noise], Lego(rank))
        units = torch.cat([merged.tensors[f"{MODULE}.lora_A.weight"], merged.tensors[f"{MODULE}.lora_B.weight"].T], dim=1)
        assert only(merged).isfinite().all() and units.abs().sum(dim=1).min() > 0.1


def test_units_that_repeat_exactly_are_one_cluster_whatever_the_rank() -> None:
    adapter = lora(0, r=3)
    merged = merge([adapter, adapter], Lego(rank=6))
    assert merged.config["r"] == 3
    assert_updates(dense(merged), dense(adapter))


def test_units_that_cancel_make_zero_and_not_nan() -> None:
    a, b = random_pair(0, r=1)
    merged = merge([made(a, b), made(-a, -b)], Lego(rank=1))
    assert all(not tensor.any() for tensor in merged.tensors.values())


@pytest.mark.parametrize("weights", [[0.5, -0.5], [1, 0]], ids=str)
def test_weights_that_are_not_above_0_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match=r"weights=\[.*\]: LoRA-LEGO takes means of units, so each weight must be above 0"):
        merge([lora(0), lora(1)], "lego", weights)


@pytest.mark.parametrize("rank", [0, -1, 1.5, True, "2"])
def test_a_rank_that_is_no_whole_number_above_0_is_refused(rank: object) -> None:
    with pytest.raises(ValueError, match=r"rank=.*: must be a whole number, at least 1"):
        Lego(rank)  # type: ignore[arg-type]


def test_more_clusters_than_units_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rank=6: the adapters have 5 ranks together, so there are at most so many clusters"):
        merge([lora(0, r=2), lora(1, r=3)], Lego(rank=6))


@pytest.mark.parametrize("seed", [-1, 0.5, None, True, 2**32])
def test_a_seed_that_is_no_whole_number_is_refused(seed: object) -> None:
    with pytest.raises(ValueError, match=r"seed=.*: must be a whole number, from 0 to 4294967295"):
        Lego(seed=seed)  # type: ignore[arg-type]


def test_other_methods_are_refused() -> None:
    with pytest.raises(ValueError, match=r"adapter 1: the updates .* Rules on the factors of LoRA take no other adapters"):
        merge([lora(0), replace(lora(0), config=lora(0).config | {"use_dora": True})], "lego")
