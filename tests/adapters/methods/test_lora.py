from __future__ import annotations

from dataclasses import replace

import peft
import pytest
import torch
from tiny_models import adapted, config_of, gpt2, vit, wrap
from torch import nn

from coto_lab import Adapter
from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.lora import LoRA

TARGETS = ["q_proj", "fc1"]


def settings(**fields: object) -> dict:
    return json_values(peft.LoraConfig(**fields).to_dict())


def test_its_settings_reach_peft() -> None:
    expected = peft.LoraConfig(r=3, lora_alpha=6.5, lora_dropout=0.1, target_modules=["a", "b"])
    assert LoRA().peft_config(r=3, alpha=6.5, dropout=0.1, targets=["a", "b"]) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"r": 3, "lora_alpha": 5, "lora_dropout": 0.1, "target_modules": ["a"], "task_type": "CAUSAL_LM"}, True),
        ({"use_rslora": True}, False),
        ({"fan_in_fan_out": True}, True),
        ({"rank_pattern": {"a": 3}}, True),
        ({"use_dora": True}, False),
        ({"init_lora_weights": "pissa"}, False),
        ({"bias": "lora_only"}, False),
        ({"alpha_pattern": {"a": 3}}, False),
    ],
)
def test_it_recognises_plain_lora(fields: dict, expected: bool) -> None:
    assert LoRA().recognises(settings(**fields)) is expected


def test_other_types_of_peft_are_not_lora() -> None:
    assert not LoRA().recognises(json_values(config_of("HiRA").to_dict()))
    assert not LoRA().recognises({})


@pytest.mark.parametrize(
    "fields",
    [{}, {"use_rslora": True}, {"lora_alpha": 1}, {"rank_pattern": {"fc1": 3}}, {"modules_to_save": ["classifier"]}],
    ids=str,
)
def test_update_is_what_peft_merges(fields: dict) -> None:
    config = peft.LoraConfig(**{"r": 2, "lora_alpha": 5, "target_modules": TARGETS} | fields)
    model, base = wrap(vit(), config), vit()
    adapter = Adapter.from_model(model)
    update, merged = LoRA().update(adapter, base), model.merge_and_unload()
    assert sorted(update) == sorted(adapter.modules) and len(update) == 6
    for name, change in update.items():
        weight = base.get_submodule(name).weight
        assert change.abs().max() > 0.01
        torch.testing.assert_close(weight + change, merged.get_submodule(name).weight)


def test_update_of_a_transposed_weight_is_out_by_in() -> None:
    model, base = adapted("LoRA", gpt2(), targets=["c_attn"], fan_in_fan_out=True), gpt2()
    adapter = Adapter.from_model(model)
    assert LoRA().recognises(adapter.config)
    factors = LoRA().factors(adapter)
    assert factors is not None and {(a.shape, b.shape) for a, b in factors.values()} == {((2, 16), (48, 2))}
    update, merged = LoRA().update(adapter, base), model.merge_and_unload()
    for name, change in update.items():
        assert change.shape == (48, 16)
        torch.testing.assert_close(base.get_submodule(name).weight + change.T, merged.get_submodule(name).weight)


def test_update_of_a_convolution_has_the_shape_of_its_weight() -> None:
    def base() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 2))

    model = wrap(base(), peft.LoraConfig(r=2, target_modules=["0"]))
    update = LoRA().update(Adapter.from_model(model), base())["0"]
    torch.testing.assert_close(base()[0].weight + update, model.merge_and_unload()[0].weight)


def test_factors_in_half_precision_are_multiplied_in_single() -> None:
    adapter = Adapter.from_model(adapted("LoRA", vit()))
    half = replace(adapter, tensors={key: tensor.bfloat16() for key, tensor in adapter.tensors.items()})
    exact = replace(adapter, tensors={key: tensor.float() for key, tensor in half.tensors.items()})
    expected = LoRA().update(exact, vit())
    for name, change in LoRA().update(half, vit()).items():
        assert change.dtype == torch.float32
        assert torch.equal(change, expected[name])


@pytest.mark.parametrize(
    "fields", [{"rank_pattern": {"fc1": 3}}, {"modules_to_save": ["classifier"]}, {"bias": "all"}], ids=str
)
def test_factors_are_of_one_rank_and_all_there_is(fields: dict) -> None:
    adapter = Adapter.from_model(wrap(vit(), peft.LoraConfig(r=2, target_modules=TARGETS, **fields)))
    assert LoRA().factors(adapter) is None


def test_its_adapters_train_in_rows() -> None:
    assert LoRA().trains_in_rows


def test_the_optimizer_is_adamw_over_all_groups() -> None:
    def parameters() -> list[nn.Parameter]:
        generator = torch.Generator().manual_seed(0)
        return [nn.Parameter(torch.randn(3, generator=generator)) for _ in range(2)]

    ours, theirs = parameters(), parameters()
    groups = [{"params": [p], "lr": lr, "weight_decay": decay} for p, lr, decay in zip(ours, (0.1, 0.2), (0, 0.5), strict=True)]
    optimizers = [
        LoRA().optimizer(groups),
        *(
            torch.optim.AdamW([p], lr=lr, weight_decay=decay, fused=True)
            for p, lr, decay in zip(theirs, (0.1, 0.2), (0, 0.5), strict=True)
        ),
    ]
    for _ in range(3):
        for parameter in [*ours, *theirs]:
            parameter.grad = parameter.detach() ** 2
        for optimizer in optimizers:
            optimizer.step()
    assert all(map(torch.equal, ours, theirs))
    assert optimizers[0].defaults["fused"]
