from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from formulas import TARGETS, base
from torch import nn

from coto_lab import Classification, Linear, Recipe, Training, fit, fit_many
from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.olora import OLoRA

RECIPE = Recipe(method="olora", r=2, alpha=3.0, steps=6, batch_size=8, lr=1e-3)  # s = 1.5


def test_its_settings_reach_peft() -> None:
    expected = peft.LoraConfig(r=3, lora_alpha=6.5, lora_dropout=0.1, init_lora_weights="olora", target_modules=["a", "b"])
    assert OLoRA().peft_config(r=3, alpha=6.5, dropout=0.1, targets=["a", "b"]) == expected


def test_it_recognises_its_start() -> None:
    assert OLoRA().recognises(json_values(peft.LoraConfig(init_lora_weights="olora").to_dict()))
    for other in (True, "pissa", "orthogonal"):
        assert not OLoRA().recognises(json_values(peft.LoraConfig(init_lora_weights=other).to_dict()))


def test_it_starts_from_orthonormal_columns_and_takes_their_product_from_the_base() -> None:
    model = Recipe(method="olora", r=4, alpha=6.0).put_on(base(), TARGETS)
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "get_delta_weight")}
    assert len(layers) == 9
    for name, layer in layers.items():
        weight = base().get_submodule(name.removeprefix("base_model.model.")).weight.detach()
        q, r = torch.linalg.qr(weight.double())
        a, b = (factor["default"].weight.detach().double() for factor in (layer.lora_A, layer.lora_B))
        torch.testing.assert_close(b.T @ b, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-5)
        torch.testing.assert_close(b @ a, q[:, :4] @ r[:4], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.base_layer.weight.double() + 1.5 * b @ a, weight.double(), rtol=1e-4, atol=1e-5)


def test_a_layer_that_is_not_linear_does_not_fit() -> None:
    assert OLoRA().misfit(nn.Conv2d(3, 16, 3), 2).startswith("olora starts from a decomposition of the weight of an nn.Linear")
    assert OLoRA().misfit(nn.Linear(24, 16), 16) == ""


def test_stock_peft_loads_what_is_kept(tiny_task: Classification, tmp_path: Path) -> None:
    training = Training(tiny_task, RECIPE)
    assert len(list(training)) == 6
    adapter = training.run().adapter
    adapter.save(tmp_path)
    assert adapter.config["r"] == 4 and adapter.method.name == "lora"
    model = peft.PeftModel.from_pretrained(tiny_task.load_base(), tmp_path).eval()
    batch = tiny_task.batch("test", range(8))
    with torch.no_grad():
        expected = tiny_task.predict(training.model.eval(), batch)
        torch.testing.assert_close(tiny_task.predict(model, batch), expected, rtol=1e-4, atol=1e-4)
        assert (tiny_task.predict(tiny_task.load_base().eval(), batch) - expected).abs().max() > 1e-2


@pytest.mark.filterwarnings("ignore:method 'olora' moves a part of the base")
def test_rows_of_fit_many_are_the_runs_of_fit_and_leave_the_base_alone(tiny_task: Classification) -> None:
    loaded = []
    task = replace(tiny_task, load_base=lambda: loaded.append(tiny_task.load_base()) or loaded[-1])
    recipes = [RECIPE, replace(RECIPE, seed=3, weight_decay=0.5), replace(RECIPE, schedule=Linear(), seed=1, lr=3e-3)]
    runs = fit_many(task, recipes, n_jobs=1, progress=False)
    pristine = tiny_task.load_base().state_dict()
    assert len(loaded) == 1 and all(torch.equal(tensor, pristine[name]) for name, tensor in loaded[0].state_dict().items())
    for run, recipe in zip(runs, recipes, strict=True):
        for key, tensor in fit(tiny_task, recipe, progress=False).adapter.tensors.items():
            torch.testing.assert_close(run.adapter.tensors[key], tensor, rtol=0, atol=1e-5)
