"""TIES, by hand, against the paper's algorithm in NumPy, and against PEFT."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from merging_cases import assert_updates, by_peft, dense, lora, of_update, only
from torch import Tensor

from coto_lab import merge
from coto_lab.merging.ties import Ties

FIRST = torch.tensor([[6.0, -5, 1], [0.5, 4, 0]])
SECOND = torch.tensor([[-2.0, -3, 0.1], [7, -4.5, 0.2]])


def by_the_paper(updates: np.ndarray, density: float) -> np.ndarray:
    """Algorithm 1 of Yadav et al. 2023 on the vectors ``[n, d]``, with λ = 1."""
    trimmed = np.zeros_like(updates)
    for row, update in zip(trimmed, updates, strict=True):
        keep = np.argsort(-np.abs(update))[: int(density * update.size)]
        row[keep] = update[keep]
    elected = np.sign(np.where(trimmed > 0, trimmed, 0).sum(0) + np.where(trimmed < 0, trimmed, 0).sum(0))
    merged = np.zeros(updates.shape[1])
    for place in range(updates.shape[1]):
        agreeing = [update[place] for update in trimmed if np.sign(update[place]) == elected[place] != 0]
        merged[place] = np.mean(agreeing) if agreeing else 0
    return merged


def random_updates(n: int = 5) -> Tensor:
    return torch.randn(n, 6, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_by_hand() -> None:
    # Half of six entries stay: 6, -5, 4 and -3, 7, -4.5. At the middle of the lower row, 4 and -4.5 elect the minus.
    expected = torch.tensor([[6.0, -4, 0], [7, -4.5, 0]], dtype=torch.float64)
    torch.testing.assert_close(only(merge([of_update(FIRST), of_update(SECOND)], Ties(density=0.5))), expected)


def test_weights_multiply_after_the_signs_are_elected_and_the_scale_multiplies_the_mean() -> None:
    merged = merge([of_update(FIRST), of_update(SECOND)], Ties(density=0.5, scale=2.0), [3.0, 0.5])
    expected = 2 * torch.tensor([[18.0, (-15 - 1.5) / 2, 0], [3.5, -2.25, 0]], dtype=torch.float64)
    torch.testing.assert_close(only(merged), expected)


@pytest.mark.parametrize("density", [0.1, 0.2, 0.5, 0.9])
def test_it_is_the_papers_algorithm(density: float) -> None:
    updates = random_updates()
    merged = only(merge([of_update(update) for update in updates], Ties(density)))
    expected = by_the_paper(updates.flatten(1).numpy(), density)
    np.testing.assert_allclose(merged.flatten().numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("density", [0.2, 0.7])
def test_it_is_pefts_ties_on_updates(density: float) -> None:
    adapters, weights = [lora(0, r=2), lora(1, r=3, alpha=9), lora(2)], [0.3, 1.0, 0.7]
    expected = by_peft(adapters, weights, "ties_svd", density=density, svd_rank=16)
    assert_updates(dense(merge(adapters, Ties(density), weights)), expected)


def test_pefts_of_rank_stabilised_adapters_is_too_large_and_ours_is_not() -> None:
    adapters, weights = [lora(0, use_rslora=True), lora(1, use_rslora=True)], [1.0, 1.0]
    parts = [dense(adapter) for adapter in adapters]
    expected = {}
    for name, update in parts[0].items():
        flat = torch.stack([update, parts[1][name]]).flatten(1).numpy()
        expected[name] = torch.from_numpy(by_the_paper(flat, 0.5)).view_as(update)
    assert_updates(dense(merge(adapters, Ties(0.5))), expected)
    found = by_peft(adapters, weights, "ties_svd", density=0.5, svd_rank=16)
    assert_updates(found, {name: math.sqrt(16) * update for name, update in expected.items()}, atol=1e-4)


def test_one_update_is_only_trimmed_and_at_density_1_it_stays() -> None:
    update = random_updates(1)[0]
    assert torch.equal(only(merge([of_update(update)], Ties(density=1))), update)
    trimmed = only(merge([of_update(update)], Ties(density=0.25)))
    assert int((trimmed != 0).sum()) == 12 and torch.equal(trimmed[trimmed != 0], update[trimmed != 0])


def test_updates_that_agree_in_every_sign_are_averaged() -> None:
    updates = random_updates().abs()
    merged = merge([of_update(update) for update in updates], Ties(density=1))
    torch.testing.assert_close(only(merged), updates.mean(0))


@pytest.mark.parametrize("density", [0, 1.5, -0.1, math.nan, math.inf, True, "0.5", None])
def test_a_density_that_is_no_share_is_refused(density: object) -> None:
    with pytest.raises(ValueError, match=r"density=.*: (must be a number|the share of entries that are kept must be above 0)"):
        Ties(density)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [math.nan, math.inf, "1", None])
def test_a_scale_that_is_no_finite_number_is_refused(scale: object) -> None:
    with pytest.raises(ValueError, match=r"scale=.*: must be a"):
        Ties(scale=scale)  # type: ignore[arg-type]
