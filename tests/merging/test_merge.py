from __future__ import annotations

import math
from dataclasses import replace

import peft
import pytest
import torch
from tiny_models import adapted, config_of, randomise, vit
from torch import Tensor

from coto_lab import Adapter, Run, merge


def lora(seed: int = 0, r: int = 2, alpha: float = 4, **settings: object) -> Adapter:
    config = peft.LoraConfig(r=r, lora_alpha=alpha, target_modules=["q_proj", "v_proj"], **settings)
    return Adapter.from_model(randomise(peft.get_peft_model(vit(), config), seed))


def deltas(adapter: Adapter) -> dict[str, Tensor]:
    """ΔW of every module, as PEFT itself would merge it."""
    model = adapter.attach(vit())
    return {name: m.get_delta_weight("default") for name, m in model.named_modules() if hasattr(m, "get_delta_weight")}


@pytest.mark.parametrize("weights", [None, [0.3, 0.7], [1, 0], [-0.5, 1.5]])
@pytest.mark.parametrize("method", ["LoRA", "DoRA", "HiRA", "LoHa"])
def test_fusion_averages_every_tensor(method: str, weights: list[float] | None) -> None:
    first = Adapter.from_model(adapted(method, vit()))
    second = Adapter.from_model(randomise(adapted(method, vit()).train(), seed=1))
    merged = merge([first, second], weights=weights)
    a, b = weights or (0.5, 0.5)
    assert merged.config == first.config and merged.tensors.keys() == first.tensors.keys()
    for key, tensor in merged.tensors.items():
        torch.testing.assert_close(tensor, a * first.tensors[key] + b * second.tensors[key])


def test_fusion_of_one_end_is_bitwise_that_adapter() -> None:
    first, second = lora(0), lora(1)
    for weights, expected in (([1, 0], first), ([0, 1], second)):
        merged = merge([first, second], weights=weights)
        assert all(torch.equal(merged.tensors[key], tensor) for key, tensor in expected.tensors.items())


def test_fusion_is_peft_with_squared_weights() -> None:
    # PEFT gives each factor the root of weight and scale, so that the update of one adapter alone is weight * s * BA. Linear
    # fusion gives each factor the weight itself; so the same result has PEFT's weight squared.
    first, second, weights = lora(0), lora(1), (0.3, 0.7)
    model = peft.get_peft_model(vit(), first.peft_config(), "first")
    model.add_adapter("second", second.peft_config())
    for name, adapter in (("first", first), ("second", second)):
        peft.set_peft_model_state_dict(model, dict(adapter.tensors), adapter_name=name)
    model.add_weighted_adapter(["first", "second"], [w**2 for w in weights], "merged", combination_type="linear")
    expected = {n: m.get_delta_weight("merged") for n, m in model.named_modules() if hasattr(m, "get_delta_weight")}
    merged = deltas(merge([first, second], "fuse", weights))
    assert merged.keys() == expected.keys()
    for name, delta in merged.items():
        torch.testing.assert_close(delta, expected[name])


@pytest.mark.parametrize("weights", [None, [0.2, 0.5, 0.3], [1, -1, 2.0]])
def test_ensemble_averages_the_updates(weights: list[float] | None) -> None:
    adapters = [lora(0, r=2, alpha=4), lora(1, r=3, alpha=5, use_rslora=True), lora(2, r=1, alpha=0.5)]
    merged = merge(adapters, "ensemble", weights)
    assert merged.config["r"] == 6
    parts = [deltas(adapter) for adapter in adapters]
    weights = weights or [1 / 3] * 3
    for name, delta in deltas(merged).items():
        expected = sum(w * part[name] for w, part in zip(weights, parts, strict=True))
        torch.testing.assert_close(delta, expected)


def test_the_update_that_is_averaged_is_s_b_a() -> None:
    for adapter, scale in ((lora(0, r=2, alpha=4), 2), (lora(0, r=3, alpha=5, use_rslora=True), 5 / math.sqrt(3))):
        for name, delta in deltas(merge([adapter], "ensemble")).items():
            a, b = (adapter.tensors[f"{name}.lora_{factor}.weight"] for factor in "AB")
            torch.testing.assert_close(delta, scale * b @ a)


def test_fusion_and_ensemble_differ_in_between() -> None:
    first, second = lora(0), lora(1)
    fused, averaged = deltas(merge([first, second])), deltas(merge([first, second], "ensemble"))
    assert all(not torch.allclose(fused[name], averaged[name], atol=1e-3) for name in fused)


@pytest.mark.parametrize("how", ["fuse", "ensemble"])
def test_the_parts_are_left_alone(how: str) -> None:
    adapters = [lora(0), lora(1)]
    before = [{key: tensor.clone() for key, tensor in adapter.tensors.items()} for adapter in adapters]
    configs = [dict(adapter.config) for adapter in adapters]
    merge(adapters, how)
    for adapter, tensors, config in zip(adapters, before, configs, strict=True):
        assert adapter.config == config and all(torch.equal(adapter.tensors[key], tensor) for key, tensor in tensors.items())


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.25, 0.25], [], [0.5, float("nan")], [float("inf"), 0.0]])
@pytest.mark.parametrize("how", ["fuse", "ensemble"])
def test_weights_that_do_not_fit_are_refused(how: str, weights: list[float]) -> None:
    with pytest.raises(ValueError, match=r"weights=\[.*\]: give one finite number for each of the 2 adapters"):
        merge([lora(0), lora(1)], how, weights)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 3}, "but r is 2 in adapter 0 and 3 in adapter 1.*how='ensemble'"),
        ({"alpha": 8}, "but lora_alpha is 4 in adapter 0 and 8 in adapter 1"),
        ({"use_rslora": True}, "but use_rslora is False in adapter 0 and True"),
        ({"alpha_pattern": {"q_proj": 9}}, "but alpha_pattern is {} in adapter 0"),
        ({"rank_pattern": {"q_proj": 3}}, r"q_proj.lora_A.weight is \[3, 16\] in adapter 1 and \[2, 16\] in adapter 0"),
        ({"init_lora_weights": "pissa"}, "but init_lora_weights is True in adapter 0 and pissa in adapter 1"),
        ({"use_dora": True}, "different methods or modules: not all have .*magnitude"),
        ({"layers_to_transform": [0]}, "different methods or modules"),
    ],
)
def test_fusion_of_different_adapters_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        merge([lora(0), lora(1, **settings)])


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (lambda: lora(use_dora=True), "this is LORA with use_dora=True"),
        (lambda: Adapter.from_model(adapted("HiRA", vit())), "this is HIRA"),
        (lambda: lora(rank_pattern={"q_proj": 3}), "rank_pattern={'q_proj': 3}"),
        (lambda: lora(alpha_pattern={"q_proj": 3}), "alpha_pattern={'q_proj': 3}"),
        pytest.param(
            lambda: lora(lora_bias=True),
            "lora_bias=True",
            marks=pytest.mark.filterwarnings("ignore:Adapter 'default'"),  # PEFT takes the bias for a damaged factor
        ),
        (
            lambda: Adapter.from_model(peft.get_peft_model(vit(), config_of("LoRA", modules_to_save=["classifier"]))),
            "classifier",
        ),
    ],
    ids=["dora", "hira", "rank_pattern", "alpha_pattern", "lora_bias", "modules_to_save"],
)
def test_an_ensemble_of_what_is_no_product_is_refused(adapter: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        merge([adapter(), adapter()], "ensemble")


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="adapters is empty"):
        merge([])
    with pytest.raises(ValueError, match="how='average': must be 'fuse'"):
        merge([lora()], "average")
    with pytest.raises(ValueError, match="different methods or modules"):
        merge([lora(), replace(lora(), tensors=dict(list(lora().tensors.items())[2:]))])


def test_fusion_has_squared_weights_and_cross_terms() -> None:
    first, second = lora(0, r=2, alpha=4), lora(1, r=2, alpha=4)
    for name, delta in deltas(merge([first, second], weights=[0.3, 0.7])).items():
        (a1, b1), (a2, b2) = ([part.tensors[f"{name}.lora_{f}.weight"] for f in "AB"] for part in (first, second))
        expected = 2 * (0.3**2 * b1 @ a1 + 0.7**2 * b2 @ a2 + 0.3 * 0.7 * (b1 @ a2 + b2 @ a1))
        torch.testing.assert_close(delta, expected)


def test_another_scale_of_another_method_is_refused() -> None:
    def loha(alpha: int) -> Adapter:
        config = peft.LoHaConfig(r=2, alpha=alpha, target_modules=["q_proj", "v_proj"], init_weights=False)
        return Adapter.from_model(peft.get_peft_model(vit(), config))

    with pytest.raises(ValueError, match="but alpha is 4 in adapter 0 and 16 in adapter 1"):
        merge([loha(4), loha(16)])


@pytest.mark.parametrize(
    "settings",
    [
        {"lora_dropout": 0.3}, {"init_lora_weights": "gaussian"}, {"target_modules": "layers.*(q_proj|v_proj)"},
        {"base_model_name_or_path": "elsewhere"}, {"revision": "main"}, {"inference_mode": False}, {"peft_version": "0.1"},
        {"use_dora": None}, {"a_setting_of_tomorrow": {}},
    ],
    ids=str,
)  # fmt: skip
def test_settings_without_effect_on_the_function_may_differ(settings: dict) -> None:
    first, second = lora(0), lora(1)
    merged = merge([first, replace(second, config=second.config | settings)])
    assert merged.config == first.config


def test_runs_stand_for_their_adapters(runs: tuple[Run, Run]) -> None:
    expected = merge([run.adapter for run in runs], weights=[0.3, 0.7])
    for parts in (runs, (runs[0], runs[1].adapter)):
        merged = merge(parts, weights=[0.3, 0.7])
        assert all(torch.equal(merged.tensors[key], tensor) for key, tensor in expected.tensors.items())


@pytest.mark.parametrize("how", ["fuse", "ensemble"])
def test_runs_of_different_bases_are_refused(runs: tuple[Run, Run], how: str) -> None:
    with pytest.raises(ValueError, match=r"different bases: 'tiny base' \(number 0\), 'other base' \(number 1\)"):
        merge([runs[0], replace(runs[1], base="other base")], how)
