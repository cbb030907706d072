from __future__ import annotations

import peft
import pytest
import torch
from formulas import TARGETS, adapter_of, base, logits
from tiny_models import adapted, gpt2, randomise
from tiny_models import logits as tokens_logits

from coto_lab import Adapter
from coto_lab.adapters.methods.oft import OFT
from coto_lab.adapters.whole_update import changed_beyond, lora_of_update


@pytest.mark.parametrize("method", ["dora", "hira", "loha", "lokr", "vera", "miss", "randlora", "boft", OFT(8)], ids=str)
def test_it_has_the_update_and_computes_what_the_adapter_computes(method: str) -> None:
    adapter = adapter_of(method)
    update = adapter.update(base())
    lora = lora_of_update(update, "some base")
    assert lora.method.name == "lora" and lora.base == "some base" and lora.config["r"] == 24  # fc2 has the most inputs
    found = lora.update(base())
    assert found.keys() == update.keys()
    assert all(torch.equal(found[name], change) for name, change in update.items())
    torch.testing.assert_close(logits(lora.attach(base())), logits(adapter.attach(base())), rtol=1e-3, atol=1e-4)


def test_stock_peft_loads_it(tmp_path) -> None:
    lora = lora_of_update(adapter_of("loha").update(base()))
    lora.save(tmp_path)
    model = peft.PeftModel.from_pretrained(base(), tmp_path).eval()
    torch.testing.assert_close(logits(model), logits(lora.attach(base())))


def test_layers_that_store_their_weights_transposed() -> None:
    model = adapted("DoRA", gpt2(), targets=["c_attn"], fan_in_fan_out=True)
    lora = lora_of_update(Adapter.from_model(model).update(gpt2()), transposed=True)
    torch.testing.assert_close(tokens_logits(lora.attach(gpt2())), tokens_logits(model), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (peft.LoraConfig(r=2, target_modules=list(TARGETS)), ""),
        (peft.LoraConfig(r=2, target_modules=list(TARGETS), bias="lora_only"), "q_proj.bias"),
        (peft.LoraConfig(r=2, target_modules=list(TARGETS), use_dora=True), ""),
        (peft.LoraConfig(r=2, target_modules=list(TARGETS), init_lora_weights="pissa"), ""),
        (peft.IA3Config(target_modules=list(TARGETS), feedforward_modules=[]), "q_proj.bias"),
        (peft.LoraConfig(r=2, target_modules=list(TARGETS), modules_to_save=["classifier"]), "classifier.weight"),
    ],
    ids=["LoRA", "biases", "DoRA", "PiSSA", "IA3", "a new head"],
)
def test_what_else_changes_is_named(config: peft.PeftConfig, said: str) -> None:
    adapter, pristine = Adapter.from_model(randomise(peft.get_peft_model(base(), config))), base()
    names = changed_beyond(adapter.update(pristine), adapter, pristine)
    assert any(name.endswith(said) for name in names) if said else names == []
    assert all(torch.equal(tensor, base().state_dict()[name]) for name, tensor in pristine.state_dict().items())


def test_updates_that_are_no_matrices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"update has \['conv'\], which are no matrices: only updates of linear layers become"):
        lora_of_update({"conv": torch.zeros(2, 1, 3, 3), "linear": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match="holds no tensors"):
        lora_of_update({})
