"""LoRA*: what turns factors leaves ΔW as it is, and fusion no longer sees it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from merging_cases import assert_updates, dense, lora, made, only, random_pair
from scipy.linalg import orthogonal_procrustes
from torch import Tensor

from coto_lab import Adapter, merge
from coto_lab.merging.lora_star import aligned


def rotation(seed: int, r: int) -> Tensor:
    return torch.linalg.qr(torch.randn(r, r, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))[0]


def turned(adapter: Adapter, turn: Tensor) -> Adapter:
    """The same updates by the factors P⁻¹ A and B P."""
    tensors = {
        key: (turn.inverse() @ t.double() if "lora_A" in key else t.double() @ turn).to(t.dtype)
        for key, t in adapter.tensors.items()
    }
    return replace(adapter, tensors=tensors)


def test_an_adapter_and_its_turned_twins_fuse_to_its_own_update() -> None:
    adapter = lora(0, r=3, alpha=5)
    twins = [adapter, turned(adapter, rotation(1, 3)), turned(adapter, rotation(2, 3))]
    assert_updates(dense(twins[1]), dense(adapter))
    assert_updates(dense(merge(twins, "lora*")), dense(adapter))
    assert_updates(dense(merge(twins, "lora*", [0.2, 0.5, 0.3])), dense(adapter))
    fused = dense(merge(twins, "fuse"))
    assert all(not torch.allclose(fused[name], update, atol=1e-2) for name, update in dense(adapter).items())


def test_factors_of_another_balance_fuse_to_the_update_too() -> None:
    adapter = lora(0, r=3)
    assert_updates(dense(merge([adapter, turned(adapter, 7 * rotation(1, 3))], "lora*")), dense(adapter))


def test_the_turn_is_scipys_solution_of_the_procrustes_problem() -> None:
    own, target = random_pair(0), random_pair(1)
    (a, b), (c, d) = own, target
    stacked, wanted = torch.cat([b, a.T]), torch.cat([d, c.T])
    turn, _ = orthogonal_procrustes(stacked.numpy(), wanted.numpy())
    found_a, found_b = aligned(own, target)
    torch.testing.assert_close(torch.cat([found_b, found_a.T]), stacked @ torch.from_numpy(turn))
    torch.testing.assert_close(found_b @ found_a, b @ a)
    distances = [(torch.cat([found_b, found_a.T]) - wanted).norm()]
    distances += [(stacked @ rotation(seed, 3) - wanted).norm() for seed in range(50)]
    assert min(distances) == distances[0]


def test_one_adapter_stays() -> None:
    a, b = random_pair(0)
    torch.testing.assert_close(only(merge([made(a, b)], "lora*")), b @ a)


@pytest.mark.parametrize("zero", [0, 1])
def test_a_module_that_is_zero_takes_half_of_the_other_away(zero: int) -> None:
    a, b = random_pair(0)
    other = [made(a, b), made(a, b)]
    other[zero] = made(torch.zeros_like(a), torch.cat([b[:, :2], torch.zeros_like(b[:, :1])], dim=1))
    merged = only(merge(other, "lora*"))
    assert merged.isfinite().all() and merged.abs().max() > 0.1


def test_different_ranks_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"the adapters have the ranks \[2, 3\]: LoRA\* averages factors of one rank\. Use Ens"
    ):
        merge([lora(0), lora(1, r=3)], "lora*")
