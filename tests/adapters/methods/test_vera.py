from __future__ import annotations

import peft
import torch
from formulas import adapter_of, assert_a_dropped_block_is_pretrained, check_formula
from torch import Tensor

from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.vera import VeRA


def test_its_settings_reach_peft() -> None:
    expected = peft.VeraConfig(r=3, vera_dropout=0.1, target_modules=["a", "b"])
    assert VeRA().peft_config(r=3, alpha=6.5, dropout=0.1, targets=["a", "b"]) == expected


def test_it_recognises_its_configuration() -> None:
    assert VeRA().recognises(json_values(peft.VeraConfig().to_dict()))
    assert not VeRA().recognises(json_values(peft.LoraConfig().to_dict())) and not VeRA().recognises({})


def test_update_is_the_formula_also_where_shapes_differ() -> None:
    """diag(b) B diag(d) A; PEFT draws A and B for the largest layer, and a smaller one takes their first columns and rows."""

    def formula(t: dict[str, Tensor], weight: Tensor) -> Tensor:
        a, b = t["vera_A"], t["vera_B"]
        assert (a.shape, b.shape) == ((4, 24), (24, 4))
        out, inputs = weight.shape
        return t["vera_lambda_b"][:, None] * (b[:out] @ (t["vera_lambda_d"][:, None] * a[:, :inputs]))

    check_formula("vera", formula)


def test_the_random_matrices_are_those_of_every_seed() -> None:
    one, other = (adapter_of("vera", seed) for seed in (0, 1))
    assert all(torch.equal(one.tensors[key], other.tensors[key]) for key in ("base_model.vera_A", "base_model.vera_B"))


def test_a_dropped_block_is_the_pretrained_one() -> None:
    assert_a_dropped_block_is_pretrained("vera")
