from __future__ import annotations

import peft
import pytest
import torch
from formulas import assert_a_dropped_block_is_pretrained, check_formula
from torch import Tensor

from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.lokr import LoKr


def test_its_settings_reach_peft() -> None:
    expected = peft.LoKrConfig(r=3, alpha=6.5, target_modules=["a", "b"])
    assert LoKr().peft_config(r=3, alpha=6.5, dropout=0.0, targets=["a", "b"]) == expected


def test_it_recognises_its_configuration() -> None:
    assert LoKr().recognises(json_values(peft.LoKrConfig(decompose_factor=4).to_dict()))
    assert not LoKr().recognises(json_values(peft.LoraConfig().to_dict())) and not LoKr().recognises({})
    assert LoKr(4).peft_config(r=3, alpha=1, dropout=0.0, targets=["a"]).decompose_factor == 4


@pytest.mark.parametrize(("method", "r"), [(LoKr(), 4), (LoKr(), 1), (LoKr(2), 4), (LoKr(2), 1)], ids=str)
def test_update_is_the_formula(method: LoKr, r: int) -> None:
    """ΔW = s·C ⊗ D with s = alpha / r; D is a product of rank r where this takes fewer numbers than D itself."""

    def formula(t: dict[str, Tensor], weight: Tensor) -> Tensor:
        c, d = t["lokr_w1"], t["lokr_w2"] if "lokr_w2" in t else t["lokr_w2_a"] @ t["lokr_w2_b"]
        assert ("lokr_w2" in t) == (r >= max(d.shape) / 2)
        assert (c.shape[0] * d.shape[0], c.shape[1] * d.shape[1]) == weight.shape
        if method.decompose_factor > 0:
            assert max(c.shape) <= method.decompose_factor
        return 6.0 / r * torch.kron(c, d)

    check_formula(method, formula, r=r)


@pytest.mark.parametrize("value", [0, 1, -2, 2.5, "4", None, True])
def test_a_factor_that_means_nothing_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"decompose_factor=.*: must be"):
        LoKr(value)  # type: ignore[arg-type]


def test_a_dropped_block_is_the_pretrained_one() -> None:
    assert_a_dropped_block_is_pretrained("lokr")
