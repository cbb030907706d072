"""The nearest update of a rank: what is lost is what NumPy's singular values say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from merging_cases import assert_updates, by_peft, dense, lora, made, of_update, only, random_pair, weighted
from torch import Tensor

from coto_lab import merge
from coto_lab.merging.ensemble import Ensemble
from coto_lab.merging.fuse import Fuse
from coto_lab.merging.svd import Svd, truncated
from coto_lab.merging.task_arithmetic import TaskArithmetic
from coto_lab.merging.ties import Ties


def test_by_hand() -> None:
    merged = merge([of_update(torch.diag(torch.tensor([2.0, 5.0, 3.0])))], Svd(rank=2))
    torch.testing.assert_close(only(merged), torch.diag(torch.tensor([0.0, 5.0, 3.0], dtype=torch.float64)))
    assert (merged.config["r"], merged.config["lora_alpha"]) == (2, 2)


@pytest.mark.parametrize("rank", [1, 2, 4, 6])
@pytest.mark.parametrize(("r", "inputs", "outputs"), [(3, 9, 11), (3, 11, 9), (9, 7, 9), (9, 9, 7), (5, 4, 4)])
def test_the_error_is_that_of_the_singular_values_left_out(rank: int, r: int, inputs: int, outputs: int) -> None:
    """Eckart and Young: for factors of low rank, and for an update of full rank, high or wide."""
    a, b = random_pair(0, r, inputs, outputs)
    low_a, low_b = truncated((a, b), rank)
    values = np.linalg.svd((b @ a).numpy(), compute_uv=False)
    assert np.linalg.norm((b @ a - low_b @ low_a).numpy()) == pytest.approx(np.linalg.norm(values[rank:]), abs=1e-7)
    assert np.linalg.matrix_rank((low_b @ low_a).numpy(), tol=1e-7) == min(rank, r, inputs, outputs)
    torch.testing.assert_close(low_a.norm(dim=1), low_b.norm(dim=0))  # the factors share the singular values


@pytest.mark.parametrize("of", [Ensemble(), TaskArithmetic(0.5), Ties(0.3)], ids=str)
def test_a_rank_that_is_high_enough_changes_nothing(of: Ensemble | TaskArithmetic | Ties) -> None:
    adapters = [lora(0), lora(1, r=3)]
    whole, same_again = merge(adapters, of), merge(adapters, Svd(rank=100, of=of))
    assert_updates(dense(same_again), dense(whole))
    assert same_again.config["r"] == (16 if isinstance(of, Ties) else 5)


@pytest.mark.parametrize("rank", [1, 3])
def test_it_is_pefts_svd(rank: int) -> None:
    adapters, weights = [lora(0, r=2), lora(1, r=3, alpha=9)], [0.3, 0.7]
    assert_updates(dense(merge(adapters, Svd(rank), weights)), by_peft(adapters, weights, "svd", svd_rank=rank))


def test_pefts_of_rank_stabilised_adapters_is_too_large_and_ours_is_not() -> None:
    adapters, weights = [lora(0, use_rslora=True), lora(1, use_rslora=True)], [0.3, 0.7]
    expected = weighted(adapters, weights)
    assert_updates(dense(merge(adapters, Svd(rank=4), weights)), expected)
    found = by_peft(adapters, weights, "svd", svd_rank=4)
    assert_updates(found, {name: math.sqrt(4) * update for name, update in expected.items()})


def test_it_takes_any_rule_and_its_weights() -> None:
    adapters = [lora(0), lora(1)]
    assert Svd().averages and not Svd(of=Ties()).averages
    assert_updates(dense(merge(adapters, Svd(rank=2, of=Fuse()))), dense(merge(adapters)))
    assert_updates(dense(merge(adapters, Svd(rank=4, of=TaskArithmetic(1.0)))), weighted(adapters, [1, 1]))
    twice = dense(merge(adapters, Svd(rank=2, of=Svd(rank=3))))
    assert_updates(twice, dense(merge(adapters, Svd(rank=2))))


def test_modules_that_are_zero_stay_zero() -> None:
    def zeros(*shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=torch.float64)

    for a, b in ((zeros(3, 7), zeros(5, 3)), (zeros(9, 7), zeros(5, 9))):
        low_a, low_b = truncated((a, b), 2)
        assert not (low_b @ low_a).any() and low_a.isfinite().all() and low_b.isfinite().all()


@pytest.mark.parametrize("rank", [0, -1, 1.5, True, None, "2"])
def test_a_rank_that_is_no_whole_number_above_0_is_refused(rank: object) -> None:
    with pytest.raises(ValueError, match=r"rank=.*: must be a whole number, at least 1"):
        Svd(rank)  # type: ignore[arg-type]


@pytest.mark.parametrize("of", [None, "ties", Ties], ids=str)
def test_what_mixes_is_a_rule(of: object) -> None:
    with pytest.raises(TypeError, match=r"of=.*: give a rule, such as Ensemble\(\) or Ties\(density=0\.2\)"):
        Svd(of=of)  # type: ignore[arg-type]


def test_adapters_of_one_module() -> None:
    (a, b), (c, d) = random_pair(0), random_pair(1)
    merged = only(merge([made(a, b), made(c, d)], Svd(rank=6), [1.0, 2.0]))
    torch.testing.assert_close(merged, b @ a + 2 * d @ c)
