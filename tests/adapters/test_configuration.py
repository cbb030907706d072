from __future__ import annotations

import json

import peft

from coto_lab.adapters.configuration import function_of, json_values


def settings(**fields: object) -> dict:
    return json_values(peft.LoraConfig(**fields).to_dict())


def test_only_what_changes_the_output_is_kept() -> None:
    plain = settings(r=2, target_modules=["a"])
    same = settings(
        r=2, target_modules=["b"], task_type="CAUSAL_LM", lora_dropout=0.5, init_lora_weights="gaussian", inference_mode=True,
        modules_to_save=["c"], rank_pattern={"a": 3}, base_model_name_or_path="x", revision="y", layers_to_transform=[1],
        layers_pattern="layers", exclude_modules=["d"],
    )  # fmt: skip
    assert function_of(same) == function_of(plain) == function_of(settings(r=2))
    for field, value in {"r": 3, "lora_alpha": 3, "use_dora": True, "bias": "all", "init_lora_weights": "pissa"}.items():
        other = function_of(settings(**{"r": 2, "target_modules": ["a"], field: value}))
        assert other[field] == value and other != function_of(plain)


def test_an_empty_field_counts_as_missing() -> None:
    assert function_of({"r": 2, "use_dora": False, "alpha_pattern": {}, "lora_bias": None}) == {"r": 2}


def test_json_values_have_a_fixed_order_and_plain_types() -> None:
    config = peft.LoraConfig(r=2, target_modules=["v_proj", "q_proj", "k_proj"]).to_dict()
    values = json_values({"nested": (config["peft_type"], {3: {"b", "a"}})} | config)
    assert values["target_modules"] == ["k_proj", "q_proj", "v_proj"]
    assert values["nested"] == ["LORA", {"3": ["a", "b"]}] and type(values["peft_type"]) is str
    assert json.loads(json.dumps(values)) == values
