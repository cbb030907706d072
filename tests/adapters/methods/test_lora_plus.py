from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from peft.optimizers import create_loraplus_optimizer
from same import same
from stopped import stopped_and_resumed
from tiny_tasks import headed_task, in_double

from coto_lab import Adapter, Classification, Linear, Recipe, Sine, Task, Training, fit, fit_many
from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.lora import LoRA
from coto_lab.adapters.methods.lora_plus import LoRAPlus
from coto_lab.ground.randomness import batch_indices


def test_its_adapters_are_those_of_lora(tiny_task: Task, recipe: Recipe) -> None:
    settings = {"r": 3, "alpha": 6.5, "dropout": 0.1, "targets": ["a", "b"]}
    assert LoRAPlus().peft_config(**settings) == LoRA().peft_config(**settings)
    assert not LoRAPlus().recognises(json_values(peft.LoraConfig().to_dict()))
    assert fit(tiny_task, replace(recipe, method="lora-plus"), progress=False).adapter.method == LoRA()


@pytest.mark.parametrize("ratio", [16.0, 4.0])
def test_it_trains_as_the_optimizer_of_peft_does(tiny_task: Classification, ratio: float) -> None:
    recipe = Recipe(method=LoRAPlus(ratio), r=2, steps=5, batch_size=8, lr=1e-3, decay="constant", weight_decay=0.1)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        config = peft.LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "v_proj"])
        model = peft.get_peft_model(tiny_task.load_base(), config).train()
    settings = {"lr": 1e-3, "loraplus_lr_ratio": ratio, "loraplus_weight_decay": 0.1}
    optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, **settings)
    for step in range(recipe.steps):
        rows = tiny_task.train[batch_indices(30, 8, recipe.seed, step).tolist()]
        torch.nn.functional.cross_entropy(model(pixel_values=rows["pixel_values"]).logits, rows["labels"]).backward()
        optimizer.step()
        optimizer.zero_grad()
    expected, plain = Adapter.from_model(model), fit(tiny_task, replace(recipe, method="lora"), progress=False).adapter
    for key, tensor in fit(tiny_task, recipe, progress=False).adapter.tensors.items():
        torch.testing.assert_close(tensor, expected.tensors[key], rtol=1e-5, atol=1e-6)
        assert not torch.allclose(tensor, plain.tensors[key], rtol=1e-3, atol=1e-4)


def test_each_factor_has_its_rate_in_every_step(tiny_task: Task, recipe: Recipe) -> None:
    training = Training(tiny_task, replace(recipe, method="lora-plus", warmup_steps=2))
    names = {id(parameter): name for name, parameter in training.model.named_parameters()}
    for step in range(recipe.steps):
        training.step()
        a, b = training.optimizer.param_groups
        assert {names[id(p)].split(".lora_")[1][0] for p in a["params"]} == {"A"}
        assert {names[id(p)].split(".lora_")[1][0] for p in b["params"]} == {"B"}
        rate = training.recipe.learning_rate(step)
        assert (a["lr"], b["lr"], training.records[-1].lr) == (rate, 16 * rate, rate)


def test_new_layers_learn_at_the_rate_of_a() -> None:
    a, b = Training(headed_task(), Recipe(method="lora-plus", steps=2, batch_size=4)).optimizer.param_groups
    assert sum("classifier" in name for name in a["names"]) == 2 and all(".lora_B." in name for name in b["names"])


def test_rows_of_fit_many_are_the_runs_of_fit(tiny_task: Classification) -> None:
    task, first = in_double(tiny_task), Recipe(method="lora-plus", r=2, steps=20, batch_size=8, lr=1e-3)
    recipes = [
        first,
        replace(first, seed=3, weight_decay=0.5, schedule=Sine(), max_grad_norm=0.1),
        replace(first, schedule=Linear(), seed=1, lr=3e-3),
    ]
    for run, recipe in zip(fit_many(task, recipes, n_jobs=1, progress=False), recipes, strict=True):
        alone = fit(task, recipe, progress=False)
        assert torch.equal(run.history.mask, alone.history.mask)
        for key, tensor in alone.adapter.tensors.items():
            torch.testing.assert_close(run.adapter.tensors[key], tensor, rtol=0, atol=1e-8)


def test_a_training_that_was_stopped_goes_on_bitwise(tiny_task: Task, recipe: Recipe, tmp_path: Path) -> None:
    whole, resumed = stopped_and_resumed(tiny_task, replace(recipe, method="lora-plus"), tmp_path)
    assert same(whole.adapter, resumed.adapter) and torch.equal(whole.history.loss, resumed.history.loss)


@pytest.mark.parametrize("ratio", [0, -1, float("inf"), float("nan"), "16", None, True])
def test_a_ratio_that_means_nothing_is_refused(ratio: object) -> None:
    with pytest.raises(ValueError, match=r"ratio=.*: must be a"):
        LoRAPlus(ratio)  # type: ignore[arg-type]


def test_a_recipe_keeps_the_ratio() -> None:
    recipe = Recipe(method=LoRAPlus(4))
    assert Recipe.from_json(recipe.to_json()) == recipe and recipe.to_json()["method"] == {"name": "lora-plus", "ratio": 4}
    assert Recipe(method=LoRAPlus(16)) == Recipe(method="lora-plus")
