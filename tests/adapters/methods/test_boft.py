from __future__ import annotations

import peft
import pytest
import torch
from formulas import assert_a_dropped_block_is_pretrained, check_formula
from torch import Tensor, nn

from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.boft import BOFT


def test_its_settings_reach_peft() -> None:
    expected = peft.BOFTConfig(boft_block_size=8, boft_n_butterfly_factor=1, target_modules=["a", "b"])
    assert BOFT().peft_config(r=3, alpha=6.5, dropout=0.0, targets=["a", "b"]) == expected


def test_it_recognises_its_configuration() -> None:
    assert BOFT().recognises(json_values(peft.BOFTConfig(boft_block_size=4).to_dict()))
    assert not BOFT().recognises(json_values(peft.LoraConfig().to_dict())) and not BOFT().recognises({})


def test_update_is_the_formula_and_turns_and_scales_the_rows_of_the_weight() -> None:
    """diag(s) W R with R = diag(R₁, R₂, ...), each the Cayley transform (1 + Q)(1 - Q)⁻¹ of the skew-symmetric part."""

    def formula(t: dict[str, Tensor], weight: Tensor) -> Tensor:
        (blocks,), one = t["boft_R"], torch.eye(8, dtype=torch.float64)
        q = (blocks - blocks.mT) / 2
        r = (one + q) @ torch.linalg.inv(one - q)
        torch.testing.assert_close(r @ r.mT, one.expand_as(r))
        turned = weight @ torch.block_diag(*r)
        torch.testing.assert_close(turned.norm(dim=1), weight.norm(dim=1))
        return t["boft_s"] * turned - weight

    check_formula("boft", formula)


def test_blocks_that_do_not_divide_the_inputs_do_not_fit() -> None:
    assert BOFT().misfit(nn.Linear(24, 16), 4) == ""
    assert BOFT(16).misfit(nn.Linear(24, 16), 4).startswith("blocks of 16 do not divide its 24 inputs; blocks of 2, 3, 4, 6, 8")


@pytest.mark.skipif(torch.cuda.is_available(), reason="PEFT may build its CUDA extension there")
def test_more_factors_than_peft_can_multiply_here_do_not_fit() -> None:
    said = "butterfly_factors=2 needs PEFT's CUDA extension, which cannot be built here; butterfly_factors=1 works without it"
    assert BOFT(4, 2).misfit(nn.Linear(24, 16), 4) == said


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None])
def test_options_that_mean_nothing_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"block_size=.*: must be a whole number, at least 2"):
        BOFT(value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"butterfly_factors=.*: must be a whole number, at least 1"):
        BOFT(8, value)  # type: ignore[arg-type]


def test_a_dropped_block_is_the_pretrained_one() -> None:
    assert_a_dropped_block_is_pretrained("boft")
