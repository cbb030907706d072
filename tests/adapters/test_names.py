from __future__ import annotations

import peft
import pytest
from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING
from peft_methods import METHODS, model_of
from tiny_models import wrap
from torch import nn

from coto_lab import Adapter
from coto_lab.adapters.layers import find_adapter_layers
from coto_lab.adapters.names import PREFIX, adapted_modules, lora_keys, module_of


@pytest.mark.filterwarnings("ignore:.*have invalid shape")  # PEFT of its own, when it reads LoRA's biases
@pytest.mark.parametrize("method", METHODS)
def test_modules_are_those_with_adapter_layers(method: str) -> None:
    model = model_of(method)
    adapter = Adapter.from_model(model)
    expected = {name.removeprefix(PREFIX) for name in find_adapter_layers(model)}
    assert set(adapter.modules) == (set() if method == "UniLoRA" else expected)  # UniLoRA has one tensor for all layers
    assert adapter.modules == adapted_modules(adapter.tensors, PEFT_TYPE_TO_PREFIX_MAPPING[adapter.config["peft_type"]])


def test_a_layer_inside_another_adapter_layer_belongs_to_the_outer_one() -> None:
    model = wrap(nn.TransformerEncoderLayer(8, 2, 8), peft.LoraConfig(r=2, target_modules=["self_attn"]))
    adapter = Adapter.from_model(model)
    assert any(".base_layer." in key for key in adapter.tensors)
    assert adapter.modules == ("self_attn",)


def test_modules_that_are_trained_whole_are_left_out() -> None:
    config = peft.LoraConfig(r=2, target_modules=["0"], modules_to_save=["1"])
    adapter = Adapter.from_model(wrap(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), config))
    assert any(key.startswith(f"{PREFIX}1.") for key in adapter.tensors)
    assert adapter.modules == ("0",)


def test_order_does_not_depend_on_that_of_the_tensors() -> None:
    names = [f"layers.{i}.{end}" for i in (0, 2, 10) for end in ("k", "q")]
    keys = [key for name in reversed(names) for key in lora_keys(PREFIX + name)]
    assert adapted_modules(keys, "lora_") == tuple(names)
    assert adapted_modules(sorted(keys), "lora_") == tuple(names)


def test_lora_keys_are_those_of_peft() -> None:
    adapter = Adapter.from_model(model_of("LoRA"))
    assert {key for name in adapter.modules for key in lora_keys(PREFIX + name)} == adapter.tensors.keys()


def test_a_tensor_of_another_kind_has_no_module() -> None:
    assert module_of("base_model.vera_A", "vera_lambda_") == ""
    assert module_of("base_model.model.a.lora_b.lora_A.weight", "lora_") == "base_model.model.a.lora_b"
