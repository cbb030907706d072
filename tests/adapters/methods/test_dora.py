from __future__ import annotations

import peft
import pytest
import torch
from tiny_models import adapted, vit

from coto_lab import Adapter
from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.dora import DoRA


def test_its_settings_reach_peft() -> None:
    expected = peft.LoraConfig(r=3, lora_alpha=6.5, lora_dropout=0.1, use_dora=True, target_modules=["a", "b"])
    assert DoRA().peft_config(r=3, alpha=6.5, dropout=0.1, targets=["a", "b"]) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"use_dora": True}, True),
        ({"use_dora": True, "r": 3, "lora_alpha": 5, "use_rslora": True, "fan_in_fan_out": True}, True),
        ({}, False),
        ({"use_dora": True, "bias": "all"}, False),
    ],
)
def test_it_recognises_lora_with_magnitudes(fields: dict, expected: bool) -> None:
    assert DoRA().recognises(json_values(peft.LoraConfig(**fields).to_dict())) is expected


def test_update_is_what_peft_merges_and_no_product_of_factors() -> None:
    model, base = adapted("DoRA", vit()), vit()
    adapter = Adapter.from_model(model)
    assert DoRA().factors(adapter) is None and not DoRA().trains_in_rows
    update, merged = DoRA().update(adapter, base), model.merge_and_unload()
    assert sorted(update) == sorted(adapter.modules) and len(update) == 6
    for name, change in update.items():
        assert change.abs().max() > 0.01
        torch.testing.assert_close(base.get_submodule(name).weight + change, merged.get_submodule(name).weight)


def test_update_is_the_formula() -> None:
    """ΔW = m · (W + s·BA) / ‖W + s·BA‖ - W, with norms over the inputs of each output."""
    adapter, base = Adapter.from_model(adapted("DoRA", vit())), vit()
    update = DoRA().update(adapter, base)
    for name in adapter.modules:
        a, b, m = (
            adapter.tensors[f"base_model.model.{name}.lora_{end}"].double()
            for end in ("A.weight", "B.weight", "magnitude_vector")
        )
        weight = base.get_submodule(name).weight.detach().double()
        moved = weight + 2 * b @ a  # alpha / r
        expected = m[:, None] * moved / moved.norm(dim=1, keepdim=True) - weight
        torch.testing.assert_close(update[name].double(), expected)
