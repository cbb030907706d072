from __future__ import annotations

import peft
import pytest
import torch
from formulas import adapter_of, assert_a_dropped_block_is_pretrained, base, check_formula
from torch import Tensor

from coto_lab import merge
from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.miss import MiSS


def test_its_settings_reach_peft() -> None:
    expected = peft.MissConfig(r=3, miss_dropout=0.1, target_modules=["a", "b"])
    assert MiSS().peft_config(r=3, alpha=6.5, dropout=0.1, targets=["a", "b"]) == expected


def test_it_recognises_its_configuration() -> None:
    assert MiSS().recognises(json_values(peft.MissConfig().to_dict()))
    assert not MiSS().recognises(json_values(peft.LoraConfig().to_dict())) and not MiSS().recognises({})


@pytest.mark.parametrize("r", [4, 5])
def test_update_is_the_formula(r: int) -> None:
    """Dᵀ S: the block D ``[r, out]`` is repeated along the input, and the last time cut off where r does not divide it."""

    def formula(t: dict[str, Tensor], weight: Tensor) -> Tensor:
        inputs = weight.shape[1]
        return t["miss_block"].T.repeat(1, -(-inputs // r))[:, :inputs]

    check_formula("miss", formula, r=r)


def test_averaged_parameters_are_the_averaged_update() -> None:
    adapters = [adapter_of("miss", seed) for seed in (0, 1)]
    first, second, fused = (adapter.update(base()) for adapter in (*adapters, merge(adapters, weights=[0.3, 0.7])))
    assert MiSS().is_linear
    for name, change in fused.items():
        torch.testing.assert_close(change, 0.3 * first[name] + 0.7 * second[name])


def test_a_dropped_block_is_the_pretrained_one() -> None:
    assert_a_dropped_block_is_pretrained("miss")
