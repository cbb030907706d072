from __future__ import annotations

import json

import numpy as np
import peft
import pytest

from coto_lab import Constant, Exponential, Linear, Recipe, Sine
from coto_lab.adapters.methods.dora import DoRA

BAD = {
    "method": ["loca", "LoRA", None, ["lora"], DoRA],
    "decay": ["step"],
    "r": [0, 2.0, True, "4"],
    "steps": [0, -1, 1.5],
    "batch_size": [0, None],
    "seed": [-1, 0.5, 2**63],
    "alpha": [0.0, -1.0, float("nan"), float("inf"), "8"],
    "lr": [0.0, -1e-3, float("nan"), float("inf"), True, None],
    "dropout": [-0.1, 1.0, float("nan"), "0"],
    "weight_decay": [-0.1, float("nan"), float("inf"), "0"],
    "tilt": [float("nan"), float("inf"), "1"],
    "dropout_decay": ["exponential", None],
    "warmup_steps": [-1, 0.5, 800],
    "max_grad_norm": [0.0, -1.0, float("inf"), "1"],
    "schedule": [0.5, "Linear", Linear],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in BAD.items() for value in values])
def test_a_bad_value_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError) as caught:
        Recipe(**{field: value})
    assert str(caught.value).startswith(f"{field}={value!r}: must be ")


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(), Constant(0.25), Linear(), Linear(start=0.1, end=0.9, ramp=0.5), Sine(), Sine(ramp=1.0), Exponential(),
        Exponential(end=0.5, ramp=0.0),
    ],
    ids=repr,
)  # fmt: skip
def test_json_round_trip(schedule: Linear) -> None:
    recipe = Recipe("dora", 3, 1.5, 0.1, schedule, 7, 0.02, "cosine", 5, 0.1, 9, -0.5, "linear", 2, 0.7)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_json_is_that_of_earlier_versions() -> None:
    assert json.dumps(Recipe(method="dora").to_json()) == (
        '{"method": "dora", "r": 4, "alpha": 8.0, "dropout": 0.0, "schedule": {"name": "Constant", "p": 1.0}, "steps": 800, '
        '"lr": 0.01, "decay": "linear", "batch_size": 32, "weight_decay": 0.0, "seed": 0, "tilt": 0.0, "dropout_decay": '
        '"constant", "warmup_steps": 0, "max_grad_norm": null}'
    )


def test_a_method_with_its_default_options_is_its_name() -> None:
    assert Recipe(method=DoRA()) == Recipe(method="dora") and Recipe(method=DoRA()).method == "dora"
    assert hash(Recipe(method=DoRA())) == hash(Recipe(method="dora"))
    assert Recipe(method=DoRA()).adapter_method == Recipe(method="dora").adapter_method == DoRA()
    assert Recipe.from_json({"method": {"name": "dora"}}) == Recipe(method="dora")


def test_json_of_an_earlier_version_takes_the_defaults() -> None:
    assert Recipe.from_json({"r": 2}) == Recipe(r=2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 1}, r"unknown fields \['temperature'\]"),
        ({"schedule": {"name": "Schedule"}}, "schedule 'Schedule'"),
        ({"schedule": None}, "schedule=None: must be an object"),
        ({"schedule": "Linear"}, "schedule='Linear': must be an object"),
        (["r", 2], r"\['r', 2\] is not an object"),
        ({"schedule": {"p": 0.5}}, "schedule None"),
        ({"schedule": {"name": "Constant", "ramp": 0.5}}, r"schedule 'Constant' has no \['ramp'\]"),
        ({"schedule": {"name": "Linear", "ramp": 2}}, "ramp=2: must be"),
        ({"steps": 0}, "steps=0: must be"),
        ({"method": "loca"}, "not a recipe of this version: method='loca': must be one of 'boft', 'dora', 'hira', 'ia3'"),
        ({"method": {"name": "oft", "block_size": 0}}, "not a recipe of this version: block_size=0: must be a whole number"),
        (
            {"method": {"name": "lora-plus", "ratio": -1}},
            "not a recipe of this version: ratio=-1.0: must be a finite number above",
        ),
        (
            {"method": {"name": "lokr", "decompose_factor": "4"}},
            "not a recipe of this version: decompose_factor='4': must be a",
        ),
        ({"method": {"name": "vera", "alpha": 4}}, r"method 'vera' has no \['alpha'\]; it has no options"),
        ({"method": {"r": 2}}, "not a recipe of this version: method='': must be one of"),
        ({"method": {"name": "dora", "m": 2}}, r"not a recipe of this version: method 'dora' has no \['m'\]"),
    ],
)
def test_unknown_json_is_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe.from_json(values)


@pytest.mark.parametrize(("method", "kind"), [("lora", "LORA"), ("dora", "LORA"), ("hira", "HIRA")])
def test_peft_config_carries_every_setting(method: str, kind: str) -> None:
    config = Recipe(method, r=3, alpha=6.0, dropout=0.1).peft_config(("v_proj", "q_proj"))
    assert config.peft_type == kind and config.r == 3 and set(config.target_modules) == {"q_proj", "v_proj"}
    if isinstance(config, peft.LoraConfig):
        assert (config.lora_alpha, config.lora_dropout, config.use_dora) == (6.0, 0.1, method == "dora")
    else:
        assert config.hira_dropout == 0.1


@pytest.mark.parametrize("method", ["lora", "dora", "hira"])
def test_new_layers_are_those_of_the_task_and_of_the_method(method: str) -> None:
    config = Recipe(method).peft_config(("q_proj",), ("score", "classifier"))
    assert config.modules_to_save == ["classifier", "score"]
    assert not Recipe(method).peft_config(("q_proj",)).modules_to_save


def test_numbers_of_numpy_are_stored_as_those_of_python() -> None:
    recipe = Recipe(r=np.int32(2), steps=np.uint8(9), seed=np.int64(3), alpha=np.float32(4), lr=np.float64(0.1), dropout=0)
    assert recipe == Recipe(r=2, steps=9, seed=3, alpha=4.0, lr=0.1)
    assert all(type(getattr(recipe, name)) is type(getattr(Recipe(), name)) for name in recipe.to_json())
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_the_largest_seed() -> None:
    assert Recipe(seed=2**63 - 1).seed == 2**63 - 1
    with pytest.raises(ValueError, match=rf"^seed={2**63}: must be a whole number, from 0 to {2**63 - 1}"):
        Recipe(seed=2**63)


def test_progressive_dropout_falls_to_0_over_three_quarters_of_the_steps() -> None:
    progressive = Recipe(dropout=0.2, dropout_decay="linear", steps=8)
    assert [progressive.dropout_rate(step) for step in (0, 3, 6, 7)] == pytest.approx([0.2, 0.1, 0, 0])
    assert {Recipe(dropout=0.2, steps=8).dropout_rate(step) for step in range(8)} == {0.2}


def test_learning_rates_by_the_formula() -> None:
    """Warm-up from 0, the highest rate at its end, and then a fall to 0 that the last step does not quite reach."""
    rates = {
        decay: [Recipe(decay=decay, lr=2.0, steps=6, warmup_steps=2).learning_rate(step) for step in range(6)]
        for decay in ("linear", "cosine", "constant")
    }
    assert rates["linear"] == pytest.approx([0, 1, 2, 1.5, 1, 0.5])
    assert rates["cosine"] == pytest.approx([0, 1, 2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5])
    assert rates["constant"] == [0, 1, 2, 2, 2, 2]
    assert [Recipe(lr=2.0, steps=2).learning_rate(step) for step in range(2)] == [2, 1]


def test_the_least_values_are_allowed() -> None:
    least = Recipe(r=1, steps=1, batch_size=1, seed=0, warmup_steps=0, dropout=0.0, weight_decay=0.0, tilt=0.0, lr=1e-300)
    assert (least.r, least.steps, least.learning_rate(0)) == (1, 1, 1e-300)
    assert Recipe(alpha=1e-300, max_grad_norm=1e-300, steps=2, warmup_steps=1).warmup_steps == 1
    assert Recipe(dropout=1 - 1e-16).dropout < 1
