"""Core Space: nothing is lost in the shared basis, and the rule that mixes works on the cores."""

from __future__ import annotations

import pytest
import torch
from merging_cases import assert_updates, dense, lora, made, only, random_pair, weighted
from torch import Tensor

from coto_lab import merge
from coto_lab.merging.core_space import CoreSpace
from coto_lab.merging.dare import Dare
from coto_lab.merging.ensemble import Ensemble
from coto_lab.merging.svd import Svd
from coto_lab.merging.task_arithmetic import TaskArithmetic
from coto_lab.merging.ties import Ties

PAIRS = [random_pair(0, r=2, inputs=9, outputs=8), random_pair(1, r=3, inputs=9, outputs=8)]


def bases() -> tuple[Tensor, Tensor]:
    """Left singular vectors of all B side by side, and right ones of all A, one below the other."""
    left, _, _ = torch.linalg.svd(torch.cat([b for _, b in PAIRS], 1), full_matrices=False)
    _, _, right = torch.linalg.svd(torch.cat([a for a, _ in PAIRS]), full_matrices=False)
    return left, right.T


@pytest.mark.parametrize(("of", "share"), [(TaskArithmetic(1.0), 1), (TaskArithmetic(0.3), 0.3), (Ensemble(), 0.5)], ids=str)
def test_with_a_sum_nothing_changes(of: TaskArithmetic | Ensemble, share: float) -> None:
    adapters = [lora(0, r=2), lora(1, r=3, alpha=5, use_rslora=True)]
    assert_updates(dense(merge(adapters, CoreSpace(of))), weighted(adapters, [share, share]))
    assert CoreSpace(of).averages == of.averages


@pytest.mark.parametrize("of", [Ties(0.4), Dare(0.5, of=TaskArithmetic(1.0))], ids=str)
def test_the_rule_mixes_the_cores(of: Ties | Dare) -> None:
    left, right = bases()
    cores = torch.stack([left.T @ b @ a @ right for a, b in PAIRS])
    for (a, b), core in zip(PAIRS, cores, strict=True):
        torch.testing.assert_close(left @ core @ right.T, b @ a)
    weights = torch.tensor([1.0, 2.0], dtype=torch.float64)
    expected = left @ of.combine(cores, weights, 0) @ right.T
    torch.testing.assert_close(only(merge([made(a, b) for a, b in PAIRS], CoreSpace(of), [1.0, 2.0])), expected)


def test_it_differs_from_the_rule_on_updates_and_has_a_low_rank() -> None:
    adapters = [made(a, b) for a, b in PAIRS]
    merged, direct = merge(adapters, "core space"), merge(adapters, "ties")
    assert merged.config["r"] == 5 and torch.linalg.matrix_rank(only(merged)) <= 5
    assert not torch.allclose(only(merged), only(direct), atol=1e-2)


def test_more_ranks_than_inputs() -> None:
    adapters = [made(*random_pair(seed, r=5, inputs=4, outputs=6)) for seed in range(3)]
    merged = merge(adapters, CoreSpace(TaskArithmetic(1.0)))
    assert merged.config["r"] == 4
    torch.testing.assert_close(only(merged), sum(only(adapter) for adapter in adapters))


def test_adapters_in_one_space() -> None:
    """Twins need a basis of their own rank only."""
    a, b = PAIRS[1]
    torch.testing.assert_close(only(merge([made(a, b), made(a, 3 * b)], CoreSpace(TaskArithmetic(1.0)))), 4 * b @ a)


@pytest.mark.parametrize("of", [None, "ties", Svd(), CoreSpace()], ids=str)
def test_what_mixes_is_a_rule_on_entries(of: object) -> None:
    with pytest.raises(
        TypeError, match=r"of=.*: give a rule that mixes updates entry by entry, such as TaskArithmetic\(0\.3\)"
    ):
        CoreSpace(of)  # type: ignore[arg-type]
