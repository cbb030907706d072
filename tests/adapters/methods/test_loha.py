from __future__ import annotations

import peft
import torch
from formulas import assert_a_dropped_block_is_pretrained, base, check_formula
from torch import Tensor

from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.loha import LoHa


def test_its_settings_reach_peft() -> None:
    expected = peft.LoHaConfig(r=3, alpha=6.5, target_modules=["a", "b"])
    assert LoHa().peft_config(r=3, alpha=6.5, dropout=0.0, targets=["a", "b"]) == expected


def test_it_recognises_its_configuration() -> None:
    assert LoHa().recognises(json_values(peft.LoHaConfig().to_dict()))
    assert not LoHa().recognises(json_values(peft.LoraConfig().to_dict())) and not LoHa().recognises({})


def test_update_is_the_formula() -> None:
    """ΔW = s·(B₁A₁) ⊙ (B₂A₂) with s = alpha / r = 1.5."""

    def formula(t: dict[str, Tensor], _: Tensor) -> Tensor:
        return 1.5 * (t["hada_w1_a"] @ t["hada_w1_b"]) * (t["hada_w2_a"] @ t["hada_w2_b"])

    adapter = check_formula("loha", formula)
    ranks = [torch.linalg.matrix_rank(change).item() for change in adapter.update(base()).values()]
    assert set(ranks) == {16}, "r = 4 allows the rank r² = 16"


def test_a_dropped_block_is_the_pretrained_one() -> None:
    assert_a_dropped_block_is_pretrained("loha")
