"""DARE: what is random about it, what is not, and PEFT's with its own random numbers."""

from __future__ import annotations

import math

import pytest
import torch
from merging_cases import assert_updates, by_peft, dense, lora, of_update, only, weighted
from same import same

from coto_lab import merge
from coto_lab.merging.dare import Dare
from coto_lab.merging.ensemble import Ensemble
from coto_lab.merging.fuse import Fuse
from coto_lab.merging.task_arithmetic import TaskArithmetic
from coto_lab.merging.ties import Ties

SUM = TaskArithmetic(1.0)


def test_its_mean_over_seeds_is_the_sum_that_is_not_pruned() -> None:
    updates = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights, draws = torch.tensor([1.0, 2.0], dtype=torch.float64), 2000
    found = torch.stack([Dare(0.4, seed, SUM).combine(updates, weights, 0) for seed in range(draws)])
    expected = updates[0] + 2 * updates[1]
    deviation = ((1 - 0.4) / 0.4 * (updates[0] ** 2 + 4 * updates[1] ** 2)).sqrt()  # of one draw
    assert ((found.mean(0) - expected).abs() < 4 * deviation / math.sqrt(draws)).all()
    torch.testing.assert_close(found.std(0), deviation, rtol=0.1, atol=0)


def test_what_stays_is_divided_by_the_density() -> None:
    update = torch.full((100, 100), 3.0)
    merged = only(merge([of_update(update)], Dare(0.25, of=SUM)))
    assert set(merged.unique().tolist()) == {0.0, 12.0}
    assert (merged != 0).double().mean().item() == pytest.approx(0.25, abs=0.02)


def test_the_seed_decides_and_every_adapter_and_module_has_a_mask_of_its_own() -> None:
    adapters = [lora(0), lora(1)]
    first = merge(adapters, Dare(0.5, seed=3))
    assert same(first, merge(adapters, Dare(0.5, seed=3))) and not same(first, merge(adapters, Dare(0.5, seed=4)))
    masks = [update != 0 for update in dense(merge(adapters[:1], Dare(0.5, seed=3))).values()]
    twin = [update != 0 for update in dense(merge([adapters[0]] * 2, Dare(0.5, 3, SUM), [0, 1])).values()]
    assert len({tuple(mask.flatten().tolist()) for mask in masks + twin}) == len(masks) + len(twin)


@pytest.mark.parametrize("of", [TaskArithmetic(0.3), Ensemble(), Ties(0.5)], ids=str)
def test_with_every_entry_it_is_the_rule_that_mixes(of: TaskArithmetic | Ensemble | Ties) -> None:
    adapters = [lora(0), lora(1)]
    assert_updates(dense(merge(adapters, Dare(1, of=of))), dense(merge(adapters, of)))
    assert Dare(of=of).averages == of.averages


def test_weights_of_an_ensemble_are_shares() -> None:
    adapters = [lora(0), lora(1)]
    assert_updates(dense(merge(adapters, Dare(1, of=Ensemble()))), weighted(adapters, [0.5, 0.5]))


@pytest.mark.parametrize(("kind", "of"), [("dare_linear_svd", SUM), ("dare_ties_svd", Ties(density=1))])
def test_it_is_pefts_on_average(kind: str, of: TaskArithmetic | Ties) -> None:
    """PEFT draws from torch's global random numbers, so means over seeds are compared."""
    adapters, weights, draws = [lora(0), lora(1)], [0.3, 0.7], 12

    def mean(results: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        return torch.stack([torch.stack(list(result.values())) for result in results]).mean(0).flatten()

    ours = mean([dense(merge(adapters, Dare(0.7, seed, of), weights)) for seed in range(draws)])
    theirs = mean([by_peft(adapters, weights, kind, seed, density=0.7, svd_rank=16) for seed in range(draws)])
    size = theirs.square().mean().sqrt()
    assert (ours - theirs).abs().mean() < 0.3 * size and (ours.norm() / theirs.norm()).item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("density", [0, 1.5, math.nan, True, "0.5"])
def test_a_density_that_is_no_share_is_refused(density: object) -> None:
    with pytest.raises(ValueError, match=r"density=.*: (must be a number|the share of entries that are kept must be above 0)"):
        Dare(density)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 0.5, None, True, 2**63])
def test_a_seed_that_is_no_whole_number_is_refused(seed: object) -> None:
    with pytest.raises(ValueError, match=r"seed=.*: must be a whole number, from 0 to"):
        Dare(seed=seed)  # type: ignore[arg-type]


def test_what_mixes_is_a_rule_on_entries() -> None:
    with pytest.raises(TypeError, match=r"of=Fuse\(\): give a rule that mixes updates entry by entry"):
        Dare(of=Fuse())  # type: ignore[arg-type]
