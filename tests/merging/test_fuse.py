"""Fusion, by itself; test_merge and test_methods hold what `merge` makes of it."""

from __future__ import annotations

import pytest
import torch
from merging_cases import assert_updates, by_peft, dense, lora, made, random_pair

from coto_lab import merge
from coto_lab.merging.fuse import Fuse, check_alike


def test_by_hand() -> None:
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]])
    c, d = torch.tensor([[-1.0, 0.0]]), torch.tensor([[1.0], [0.0]])
    merged = Fuse().merged([made(a, b), made(c, d)], [0.5, 0.5], None)
    # A = [0, 1] and B = [2, 2]ᵀ
    torch.testing.assert_close(*dense(merged).values(), torch.tensor([[0.0, 2.0], [0.0, 2.0]], dtype=torch.float64))


def test_it_is_pefts_linear_with_squared_weights_for_rank_stabilised_adapters_too() -> None:
    adapters, weights = [lora(0, use_rslora=True), lora(1, use_rslora=True)], [0.3, 0.7]
    fused = dense(merge(adapters, "fuse", weights))
    found = by_peft(adapters, [w**2 for w in weights], "linear")
    # PEFT puts the scale into the factors and keeps use_rslora with alpha = r: √r too large.
    assert_updates(found, {name: 2**0.5 * update for name, update in fused.items()})


def test_what_differs_is_named() -> None:
    check_alike(lora(0), lora(1), 1)
    with pytest.raises(ValueError, match="but r is 2 in adapter 0 and 3 in adapter 4"):
        check_alike(lora(0), lora(1, r=3), 4)
    with pytest.raises(ValueError, match=r"lora_A.weight is \[3, 8\] in adapter 1 and \[3, 7\] in adapter 0"):
        merge([made(*random_pair(0)), made(*random_pair(1, inputs=8))])
