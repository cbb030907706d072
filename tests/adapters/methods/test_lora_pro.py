from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import peft
import pytest
import torch
from torch import Tensor, nn

from coto_lab import Classification, Linear, Recipe, Run, Task, Training, fit, fit_many
from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.lora_pro_optimizer import LoRAProOptimizer
from coto_lab.adapters.methods.lora import LoRA
from coto_lab.adapters.methods.lora_pro import LoRAPro
from coto_lab.training.history import Step

FORMS = ("adam", "sgd")


class DoubleTask(Classification):
    """Inputs in float64, for a base in float64."""

    def predict(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return super().predict(model, {name: x.double() if x.is_floating_point() else x for name, x in batch.items()})


@pytest.fixture(scope="module")
def double_task(tiny_task: Task) -> Task:
    values = {field.name: getattr(tiny_task, field.name) for field in fields(Classification)}
    return DoubleTask(**values | {"load_base": lambda: tiny_task.load_base().double()})


def test_its_adapters_are_those_of_lora(tiny_task: Task, recipe: Recipe) -> None:
    assert LoRAPro().peft_config(r=3, alpha=6.5, dropout=0.1, targets=["a"]) == peft.LoraConfig(
        r=3, lora_alpha=6.5, lora_dropout=0.1, target_modules=["a"]
    )
    assert not LoRAPro().recognises(json_values(peft.LoraConfig().to_dict()))
    trained = fit(tiny_task, replace(recipe, method="lora-pro"), progress=False).adapter
    assert trained.method == LoRA() and LoRA().factors(trained)


def test_its_optimizer_has_its_form_and_the_scale_of_each_group() -> None:
    factors = {f"m.lora_{f}.weight": nn.Parameter(torch.ones(2, 2)) for f in "AB"}
    group = {"params": list(factors.values()), "names": list(factors), "lr": 0.1, "weight_decay": 0.2, "row": 0, "scaling": 3.0}
    for form in FORMS:
        optimizer = LoRAPro(form).optimizer([dict(group)])
        assert isinstance(optimizer, LoRAProOptimizer)
        (found,) = optimizer.param_groups
        assert found.items() >= {"form": form, **group}.items()


def test_a_recipe_keeps_the_form() -> None:
    assert Recipe(method="lora-pro") == Recipe(method=LoRAPro("adam"))
    recipe = Recipe(method=LoRAPro("sgd"))
    assert Recipe.from_json(recipe.to_json()) == recipe and recipe.to_json()["method"] == {"name": "lora-pro", "form": "sgd"}
    with pytest.raises(ValueError, match=r"form='adamw': must be one of 'adam', 'sgd'\."):
        LoRAPro("adamw")


@pytest.mark.parametrize("form", FORMS)
def test_it_learns_and_finds_another_adapter_than_lora(tiny_task: Task, form: str) -> None:
    recipe = Recipe(r=2, steps=30, batch_size=15, lr=2e-3 if form == "adam" else 0.05)
    run, plain = (fit(tiny_task, replace(recipe, method=m), progress=False) for m in (LoRAPro(form), "lora"))
    assert run.history.loss[-5:].mean() < run.history.loss[:5].mean() / 2
    assert not any(torch.equal(run.adapter.tensors[key], plain.adapter.tensors[key]) for key in plain.adapter.tensors)


def test_the_scale_of_the_recipe_reaches_it(tiny_task: Task) -> None:
    """In its sgd form, the first step moves the weight by -lr·g P_A, whatever the scale is."""
    changes = []
    for alpha in (1.0, 8.0):
        recipe = Recipe(method=LoRAPro("sgd"), r=2, alpha=alpha, steps=1, batch_size=15, lr=0.05, decay="constant")
        changes.append(fit(tiny_task, recipe, progress=False).adapter.update(tiny_task.load_base()))
    for name, change in changes[0].items():
        assert change.abs().max() > 1e-4
        torch.testing.assert_close(change, changes[1][name], rtol=1e-4, atol=1e-7)


def test_a_dropped_block_keeps_its_factors_its_moments_and_its_step_count(tiny_task: Task, recipe: Recipe) -> None:
    training = Training(tiny_task, replace(recipe, method="lora-pro"))
    owners = {name: p for name, p in training.model.named_parameters() if "lora_" in name}
    counts = dict.fromkeys(owners, 0)
    for _ in range(recipe.steps):
        before = {name: (p.detach().clone(), str(training.optimizer.state.get(p))) for name, p in owners.items()}
        training.step()
        mask = training.history().mask[-1]
        for name, p in owners.items():
            (block,) = (i for i, gate in enumerate(training.history().gates) if f"{gate}." in name)
            counts[name] += int(mask[block])
            same = torch.equal(p, before[name][0]) and str(training.optimizer.state.get(p)) == before[name][1]
            assert same or mask[block]
            state = training.optimizer.state.get(p, {})
            assert "lora_A" in name or state.get("step", torch.tensor(0)).item() == counts[name]
    assert 0 < min(counts.values()) < max(counts.values())


@pytest.mark.parametrize("form", FORMS)
def test_a_training_that_was_stopped_goes_on_bitwise(tiny_task: Task, recipe: Recipe, tmp_path: Path, form: str) -> None:
    recipe = replace(recipe, method=LoRAPro(form))
    whole = fit(tiny_task, recipe, progress=False)

    class Stopped(Exception):
        pass

    def stop(record: Step) -> None:
        if record.step == 7:
            raise Stopped

    with pytest.raises(Stopped):
        fit(tiny_task, recipe, checkpoint=tmp_path / "state", checkpoint_every=4, on_step=stop, progress=False)
    resumed = fit(tiny_task, recipe, checkpoint=tmp_path / "state", progress=False)
    assert all(torch.equal(tensor, resumed.adapter.tensors[key]) for key, tensor in whole.adapter.tensors.items())
    assert torch.equal(whole.history.loss, resumed.history.loss)


def difference(a: Run, b: Run) -> float:
    assert a.recipe == b.recipe and torch.equal(a.history.mask, b.history.mask)
    return max((a.adapter.tensors[key] - b.adapter.tensors[key]).abs().max().item() for key in a.adapter.tensors)


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_fit_many_are_the_runs_of_fit(double_task: Task, form: str) -> None:
    base = Recipe(method=LoRAPro(form), r=2, steps=20, batch_size=8)
    recipes = [base, replace(base, seed=3, weight_decay=0.5), replace(base, schedule=Linear(), seed=1, lr=3e-3)]
    runs = fit_many(double_task, recipes, progress=False, n_jobs=1)
    for run, recipe in zip(runs, recipes, strict=True):
        assert difference(run, fit(double_task, recipe, progress=False)) < 1e-7
