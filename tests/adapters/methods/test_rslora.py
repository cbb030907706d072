from __future__ import annotations

from dataclasses import replace

import peft
import pytest
import torch
from formulas import adapter_of, assert_a_dropped_block_is_pretrained, base, check_formula
from tiny_tasks import in_double

from coto_lab import Classification, Linear, Recipe, Sine, fit, fit_many
from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.rslora import RsLoRA


def test_its_settings_reach_peft() -> None:
    expected = peft.LoraConfig(r=3, lora_alpha=6.5, lora_dropout=0.1, use_rslora=True, target_modules=["a", "b"])
    assert RsLoRA().peft_config(r=3, alpha=6.5, dropout=0.1, targets=["a", "b"]) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"use_rslora": True}, True),
        ({"use_rslora": True, "r": 3, "lora_alpha": 5, "fan_in_fan_out": True}, True),
        ({}, False),
        ({"use_rslora": True, "use_dora": True}, False),
        ({"use_rslora": True, "init_lora_weights": "pissa"}, False),
    ],
)
def test_it_recognises_its_scale(fields: dict, expected: bool) -> None:
    assert RsLoRA().recognises(json_values(peft.LoraConfig(**fields).to_dict())) is expected


def test_update_is_the_formula() -> None:
    """s·BA with s = alpha / √r = 6 / 2."""
    assert RsLoRA().scaling(4, 6.0) == 3
    check_formula("rslora", lambda t, _: 3 * t["lora_B.weight"] @ t["lora_A.weight"])


def test_its_scale_is_in_the_factors() -> None:
    adapter = adapter_of("rslora")
    for name, (a, b) in adapter.factors().items():
        torch.testing.assert_close(b @ a, adapter.update(base())[name.removeprefix("base_model.model.")])


def test_a_dropped_block_is_the_pretrained_one() -> None:
    assert_a_dropped_block_is_pretrained("rslora")


def test_rows_of_fit_many_are_the_runs_of_fit(tiny_task: Classification) -> None:
    task, first = in_double(tiny_task), Recipe(method="rslora", r=2, steps=20, batch_size=8)
    recipes = [
        first,
        replace(first, seed=3, weight_decay=0.5, schedule=Sine()),
        replace(first, schedule=Linear(), seed=1, lr=3e-3),
    ]
    for run, recipe in zip(fit_many(task, recipes, n_jobs=1, progress=False), recipes, strict=True):
        alone = fit(task, recipe, progress=False)
        assert run.adapter.config == alone.adapter.config and torch.equal(run.history.mask, alone.history.mask)
        for key, tensor in alone.adapter.tensors.items():
            torch.testing.assert_close(run.adapter.tensors[key], tensor, rtol=0, atol=1e-9)
