from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from formulas import TARGETS, base
from same import same
from stopped import stopped_and_resumed
from torch import Tensor, nn

from coto_lab import Adapter, Classification, Constant, Linear, Recipe, Run, Sine, Task, Training, fit, fit_many, merge
from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.pissa import PiSSA

RECIPE = Recipe(method="pissa", r=2, alpha=3.0, steps=6, batch_size=8, lr=1e-3)  # s = 1.5
DROPPED = "method 'pissa' moves a part of the base's weights .* a dropped block does not compute the pre-trained function"


def effective(model: nn.Module) -> dict[str, Tensor]:
    """The weight of every adapted module with the adapter in it."""
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "get_delta_weight")}
    return {
        name.removeprefix("base_model.model."): (layer.base_layer.weight + layer.get_delta_weight("default")).detach()
        for name, layer in layers.items()
    }


@pytest.fixture(scope="module")
def trained(tiny_task: Task) -> list[Training]:
    trainings = [Training(tiny_task, replace(RECIPE, seed=seed)) for seed in (0, 1)]
    for training in trainings:
        assert len(list(training)) == 6
    return trainings


def test_its_settings_reach_peft() -> None:
    expected = peft.LoraConfig(r=3, lora_alpha=6.5, lora_dropout=0.1, init_lora_weights="pissa", target_modules=["a", "b"])
    assert PiSSA().peft_config(r=3, alpha=6.5, dropout=0.1, targets=["a", "b"]) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"init_lora_weights": "pissa"}, True),
        ({"init_lora_weights": "pissa_niter_4"}, False),
        ({"init_lora_weights": "olora"}, False),
        ({}, False),
        ({"init_lora_weights": "pissa", "use_dora": True}, False),
    ],
)
def test_it_recognises_a_start_that_can_be_repeated(fields: dict, expected: bool) -> None:
    assert PiSSA().recognises(json_values(peft.LoraConfig(**fields).to_dict())) is expected


# --- The start ---------------------------------------------------------------------------------------------------------------


def test_it_starts_from_the_best_approximation_of_its_rank() -> None:
    model = Recipe(method="pissa", r=4, alpha=6.0).put_on(base(), TARGETS)
    for name, weight in effective(model).items():
        before = base().get_submodule(name).weight.detach()
        torch.testing.assert_close(weight, before, rtol=1e-4, atol=1e-6)  # nothing is changed by the start itself
        u, s, vh = torch.linalg.svd(before.double(), full_matrices=False)
        layer = model.get_submodule(f"base_model.model.{name}")
        residual = layer.base_layer.weight.detach().double()
        torch.testing.assert_close(residual, u[:, 4:] @ torch.diag(s[4:]) @ vh[4:], rtol=1e-4, atol=1e-5)
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        torch.testing.assert_close(a.norm(dim=1).double(), (s[:4] / 1.5).sqrt(), rtol=1e-4, atol=0)  # shared evenly
        torch.testing.assert_close(b.norm(dim=0), a.norm(dim=1))


@pytest.mark.parametrize(
    ("layer", "r", "said"),
    [
        (nn.Linear(24, 16), 16, ""),
        (nn.Linear(24, 16), 17, "a decomposition of its weight has 16 components, and r=17 are wanted"),
        (nn.Conv2d(3, 16, 3), 2, "pissa starts from a decomposition of the weight of an nn.Linear, and this is none"),
        (nn.Embedding(8, 8), 2, "pissa starts from a decomposition of the weight of an nn.Linear, and this is none"),
        (
            nn.Linear(24, 16).double(),
            2,
            "PEFT decomposes weights in float32, float16 or bfloat16, and this one is in torch.float64",
        ),
        (nn.Linear(24, 16).bfloat16(), 2, ""),
    ],
    ids=str,
)
def test_layers_that_cannot_be_decomposed_do_not_fit(layer: nn.Module, r: int, said: str) -> None:
    assert PiSSA().misfit(layer, r) == said


# --- The finished adapter ----------------------------------------------------------------------------------------------------


def test_what_is_kept_is_a_lora_of_twice_the_rank_on_the_base_as_it_was(trained: list[Training], tiny_task: Task) -> None:
    for training in trained:
        adapter, pristine = training.run().adapter, tiny_task.load_base()
        assert adapter.config["r"] == 4 and adapter.config["lora_alpha"] == 6 and adapter.method.name == "lora"
        assert {tensor.shape for tensor in adapter.tensors.values()} == {(4, 16), (16, 4)}
        update = adapter.update(pristine)
        assert len(update) == 8
        for name, weight in effective(training.model).items():
            assert update[name].abs().max() > 1e-3
            torch.testing.assert_close(pristine.get_submodule(name).weight + update[name], weight, rtol=1e-4, atol=1e-5)


def test_stock_peft_loads_it(trained: list[Training], tiny_task: Classification, tmp_path: Path) -> None:
    trained[0].run().adapter.save(tmp_path)
    model = peft.PeftModel.from_pretrained(tiny_task.load_base(), tmp_path).eval()
    batch = tiny_task.batch("test", range(8))
    with torch.no_grad():
        torch.testing.assert_close(
            tiny_task.predict(model, batch), tiny_task.predict(trained[0].model.eval(), batch), rtol=1e-4, atol=1e-4
        )


def test_a_saved_run_loads_again(tiny_task: Task, tmp_path: Path) -> None:
    run = fit(tiny_task, RECIPE, progress=False)
    loaded = Run.load(run.save(tmp_path / "run"))
    assert same(loaded.adapter, run.adapter) and loaded.adapter.config == run.adapter.config and loaded.recipe == RECIPE


def test_fusion_averages_the_factors_that_were_trained(trained: list[Training], tiny_task: Task) -> None:
    """W - s·B₀A₀ + s·(w₁B₁ + w₂B₂)(w₁A₁ + w₂A₂)."""
    fused = merge([training.run() for training in trained], weights=[0.3, 0.7]).update(tiny_task.load_base())
    first, second = (Adapter.from_model(training.model).tensors for training in trained)
    for name, change in fused.items():
        a, b = (0.3 * first[key] + 0.7 * second[key] for key in (f"base_model.model.{name}.lora_{f}.weight" for f in "AB"))
        residual = trained[0].model.get_submodule(f"base_model.model.{name}").base_layer.weight.detach()
        expected = residual + 1.5 * b @ a - tiny_task.load_base().get_submodule(name).weight.detach()
        torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-5)


# --- The training ------------------------------------------------------------------------------------------------------------


def test_a_training_that_was_stopped_goes_on_bitwise(tiny_task: Task, tmp_path: Path) -> None:
    whole, resumed = stopped_and_resumed(tiny_task, replace(RECIPE, steps=12), tmp_path)
    assert same(whole.adapter, resumed.adapter) and torch.equal(whole.history.loss, resumed.history.loss)


def test_in_training_a_dropped_block_lacks_what_was_moved(tiny_task: Classification) -> None:
    with pytest.warns(UserWarning, match=DROPPED):
        training = Training(tiny_task, replace(RECIPE, schedule=Constant(0.5)))
    batch = tiny_task.batch("test", range(8))
    gates, pristine = training.gates, tiny_task.load_base().eval()
    training.model.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            tiny_task.predict(training.model, batch), tiny_task.predict(pristine, batch), atol=1e-3, rtol=0
        )
        gates.close(range(len(gates)))
        assert (tiny_task.predict(training.model, batch) - tiny_task.predict(pristine, batch)).abs().max() > 0.1


@pytest.mark.filterwarnings("ignore:method 'pissa' moves a part of the base")
def test_rows_of_fit_many_are_the_runs_of_fit(tiny_task: Task) -> None:
    recipes = [
        RECIPE,
        replace(RECIPE, seed=3, weight_decay=0.5, schedule=Sine()),
        replace(RECIPE, schedule=Linear(), seed=1, lr=3e-3),
    ]
    runs = fit_many(tiny_task, recipes, n_jobs=1, progress=False)
    for run, recipe in zip(runs, recipes, strict=True):
        alone = fit(tiny_task, recipe, progress=False)
        assert run.adapter.config == alone.adapter.config and run.adapter.base == alone.adapter.base
        assert torch.equal(run.history.mask, alone.history.mask)
        for key, tensor in alone.adapter.tensors.items():
            torch.testing.assert_close(run.adapter.tensors[key], tensor, rtol=0, atol=1e-5)
