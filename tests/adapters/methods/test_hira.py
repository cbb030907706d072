from __future__ import annotations

import peft
import torch
from tiny_models import adapted, config_of, vit

from coto_lab import Adapter
from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.hira import HiRA


def test_its_settings_reach_peft() -> None:
    expected = peft.HiraConfig(r=3, hira_dropout=0.1, target_modules=["a", "b"])
    assert HiRA().peft_config(r=3, alpha=6.5, dropout=0.1, targets=["a", "b"]) == expected


def test_it_recognises_its_configuration() -> None:
    assert HiRA().recognises(json_values(config_of("HiRA").to_dict()))
    assert not HiRA().recognises(json_values(config_of("LoRA").to_dict()))


def test_update_is_what_peft_merges_and_no_product_of_factors() -> None:
    model, base = adapted("HiRA", vit()), vit()
    adapter = Adapter.from_model(model)
    assert HiRA().factors(adapter) is None and not HiRA().trains_in_rows
    update, merged = HiRA().update(adapter, base), model.merge_and_unload()
    assert sorted(update) == sorted(adapter.modules) and len(update) == 6
    for name, change in update.items():
        weight = base.get_submodule(name).weight
        torch.testing.assert_close(weight + change, merged.get_submodule(name).weight)
        a, b = (adapter.tensors[f"base_model.model.{name}.hira_{factor}"] for factor in "AB")
        torch.testing.assert_close(change, weight.detach() * (b @ a))
