"""What merging means for each method, and where it means nothing."""

from __future__ import annotations

from dataclasses import replace

import peft
import pytest
import torch
from formulas import TARGETS, adapter_of, base
from peft_methods import model_of
from tiny_models import TARGETS as TOKEN_TARGETS
from tiny_models import config_of, gpt2, llama, randomise
from tiny_models import vit as other_base
from tiny_tasks import gpt2_task
from torch import nn

from coto_lab import Adapter, Evaluator, Recipe, Run, Task, Variant, fit, merge
from coto_lab.adapters.methods.method import Method
from coto_lab.adapters.methods.oft import OFT

NOT_PRODUCTS = ["dora", "hira", "loha", "lokr", "vera", "randlora", "boft", OFT(8)]


def of(config: peft.PeftConfig, seed: int = 0, model: nn.Module | None = None) -> Adapter:
    return Adapter.from_model(randomise(peft.get_peft_model(base() if model is None else model, config), seed))


def assert_mean(merged: Adapter, parts: list[Adapter], weights: list[float]) -> None:
    """The update of ``merged`` is the weighted sum of the others'."""
    first, second = (part.update(base()) for part in parts)
    for name, change in merged.update(base()).items():
        expected = weights[0] * first[name] + weights[1] * second[name]
        torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-6 * expected.abs().max().item())


# --- Ensembles ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [[0.3, 0.7], [1.0, 1.0]], ids=str)
@pytest.mark.parametrize("method", NOT_PRODUCTS, ids=str)
def test_an_ensemble_with_the_base_averages_the_updates(method: str | Method, weights: list[float]) -> None:
    parts = [adapter_of(method, seed) for seed in (0, 1)]
    merged = merge(parts, "ensemble", weights, base=base())
    assert merged.method.name == "lora"
    assert_mean(merged, parts, weights)


def test_ranks_and_scales_of_an_ensemble_with_the_base_may_differ() -> None:
    parts = [adapter_of("loha", 0, r=2), adapter_of("loha", 1, r=3, alpha=2.0)]
    assert_mean(merge(parts, "ensemble", base=base()), parts, [0.5, 0.5])


@pytest.mark.parametrize("method", ["ia3", "miss"])
def test_where_updates_are_linear_the_ensemble_is_the_fusion(method: str) -> None:
    parts = [adapter_of(method, seed) for seed in (0, 1)]
    merged, fused = merge(parts, "ensemble", [0.3, 0.7]), merge(parts, "fuse", [0.3, 0.7])
    assert all(torch.equal(tensor, fused.tensors[key]) for key, tensor in merged.tensors.items())
    assert_mean(merged, parts, [0.3, 0.7])


def test_a_sum_of_linear_updates_is_no_fusion() -> None:
    """IA3 starts at 1: l₁ + l₂ would add the weight itself once more."""
    for method in ("ia3", "miss"):
        with pytest.raises(
            ValueError, match=r"this rule mixes the updates ΔW: .* Use how='fuse', or give base=task\.load_base"
        ):
            merge([adapter_of(method, seed) for seed in (0, 1)], "ensemble", [1.0, 1.0])
    parts = [adapter_of("miss", 0), adapter_of("miss", 1, r=3)]
    assert_mean(merge(parts, "ensemble", [1.0, 1.0], base=base()), parts, [1.0, 1.0])


@pytest.mark.parametrize("method", NOT_PRODUCTS, ids=str)
def test_without_the_base_it_is_refused(method: str | Method) -> None:
    kind = adapter_of(method).config["peft_type"]
    with pytest.raises(
        ValueError, match=rf"this rule mixes the updates ΔW: .*this is {kind}.* or give base=task\.load_base\(\)"
    ):
        merge([adapter_of(method, seed) for seed in (0, 1)], "ensemble")


def test_what_is_more_than_updates_of_weights_is_refused() -> None:
    biases = peft.LoraConfig(r=2, target_modules=list(TARGETS), bias="lora_only")
    head = peft.LoraConfig(r=2, target_modules=list(TARGETS), use_dora=True, modules_to_save=["classifier"])
    scaled = peft.IA3Config(target_modules=list(TARGETS), feedforward_modules=[])
    for config, said in (
        (biases, r"but adapter 0 \(LORA\) changes vit\.layers\.0\.attention\.q_proj\.bias, too\. Use how='fuse'"),
        (scaled, r"but adapter 0 \(IA3\) changes vit\.layers\.0\.attention\.q_proj\.bias, too\. Use how='fuse'"),
        (head, r"classifier\.weight is no update: it was trained whole \(modules_to_save\)\. Use how='fuse'"),
    ):
        with pytest.raises(ValueError, match=said):
            merge([of(config, 0), of(config, 1)], "ensemble", [0.5, 1.0], base=base())


def test_a_method_without_an_update_is_refused() -> None:
    for method in ("aLoRA", "Lily"):
        with pytest.raises(
            ValueError, match=r"adapter on model\.layers\.0\.self_attn\.q_proj has no update ΔW: PEFT cannot merge"
        ):
            merge([Adapter.from_model(model_of(method))] * 2, "ensemble", base=llama(attention_bias=True))


def test_a_base_of_another_shape_is_refused() -> None:
    adapters = [adapter_of("loha", seed) for seed in (0, 1)]
    with pytest.raises(ValueError, match="not found in the base model"):
        merge(adapters, "ensemble", base=gpt2())
    with pytest.raises(ValueError, match=r"does not fit the model|Use the base model"):
        merge(adapters, "ensemble", base=other_base(layers=2))


def test_layers_that_store_their_weights_transposed() -> None:
    task = gpt2_task()
    config = config_of("DoRA", ["c_attn", "c_fc"], fan_in_fan_out=True)
    parts = [of(config, seed, task.load_base()) for seed in (0, 1)]
    merged, pristine = merge(parts, "ensemble", [0.25, 0.75], base=task.load_base()), task.load_base()
    first, second, both = (part.update(pristine) for part in (*parts, merged))
    for name, change in both.items():
        torch.testing.assert_close(change, 0.25 * first[name] + 0.75 * second[name], rtol=1e-4, atol=1e-5)
    assert Evaluator(task)([Variant(replace(merged, base=task.base))]).loss.isfinite().all()


# --- Fusion ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["vera", "randlora"])
def test_random_matrices_stay_as_they_are(method: str) -> None:
    first, second = (adapter_of(method, seed) for seed in (0, 1))
    fixed = [key for key in first.tensors if key.endswith((f"{method}_A", f"{method}_B"))]
    for weights in ([0.3, 0.7], [1.0, 1.0], [1.0, -1.0]):
        fused = merge([first, second], weights=weights)
        assert fixed and all(torch.equal(fused.tensors[key], first.tensors[key]) for key in fixed)
        for key in fused.tensors.keys() - set(fixed):
            expected = weights[0] * first.tensors[key] + weights[1] * second.tensors[key]
            torch.testing.assert_close(fused.tensors[key], expected)


@pytest.mark.parametrize("method", ["vera", "randlora"])
def test_adapters_of_other_random_matrices_are_refused(method: str) -> None:
    first, second = (adapter_of(method, seed) for seed in (0, 1))
    drawn = next(key for key in first.tensors if key.endswith(f"{method}_A"))
    elsewhere = replace(second, tensors=second.tensors | {drawn: second.tensors[drawn].flip(-1)})
    with pytest.raises(
        ValueError, match=rf"{method}_A, which was drawn at random and not trained, differs between adapter 0 and"
    ):
        merge([first, elsewhere])
    parts = [first, elsewhere]
    assert_mean(merge(parts, "ensemble", base=base()), parts, [0.5, 0.5])
    with pytest.raises(ValueError, match="projection_prng_key is 0 in adapter 0 and 1 in adapter 1"):
        merge([first, replace(second, config=second.config | {"projection_prng_key": 1})])


def test_places_in_the_weight_are_not_averaged() -> None:
    first = Adapter.from_model(model_of("SHiRA"))
    fused = merge([first, first], weights=[0.25, 0.25])
    for key, tensor in fused.tensors.items():
        assert tensor.dtype == first.tensors[key].dtype
        torch.testing.assert_close(tensor, first.tensors[key] if key.endswith("indices") else first.tensors[key] / 2)
    key = next(key for key in first.tensors if key.endswith("indices"))
    other = replace(first, tensors=first.tensors | {key: first.tensors[key].flip(0)})
    with pytest.raises(ValueError, match="shira_indices, which was drawn at random and not trained, differs"):
        merge([first, other])


def test_other_blocks_other_methods_and_other_starts_are_refused(tiny_task: Task) -> None:
    with pytest.raises(ValueError, match="but oft_block_size is 8 in adapter 0 and 4 in adapter 1"):
        merge([adapter_of(OFT(8)), adapter_of(OFT(4))])
    with pytest.raises(ValueError, match="different methods or modules"):
        merge([adapter_of("loha"), adapter_of("lokr")])
    with pytest.raises(ValueError, match="but use_rslora is False in adapter 0 and True in adapter 1"):
        merge([adapter_of("lora"), adapter_of("rslora")])
    recipe = Recipe(method="pissa", r=2, steps=1, batch_size=4)
    runs: list[Run] = [
        fit(tiny_task, recipe, progress=False),
        fit(tiny_task, replace(recipe, method="olora"), progress=False),
        fit(tiny_task, replace(recipe, method="lora", r=4, alpha=16), progress=False),
    ]
    for one, other in ((runs[0], runs[1]), (runs[2], runs[0])):
        with pytest.raises(
            ValueError, match=r"which moves a part of the base's weights into its factors, and adapter \d of method"
        ):
            merge([one, other])
    pristine = tiny_task.load_base()
    mixed, first, second = (
        adapter.update(pristine) for adapter in (merge(runs[:2], "ensemble"), runs[0].adapter, runs[1].adapter)
    )
    for name, change in mixed.items():
        torch.testing.assert_close(change, (first[name] + second[name]) / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("start", ["pissa_niter_2", "lora_ga"])
def test_a_start_that_cannot_be_repeated_is_refused(start: str) -> None:
    config = peft.LoraConfig(r=2, target_modules=list(TOKEN_TARGETS))
    plain = of(config, 0, llama())
    lost = replace(plain, config=plain.config | {"init_lora_weights": start})
    said = f"this adapter began with init_lora_weights='{start}', which rewrote weights of its base by "
    for use in (
        lambda: merge([lost, lost]),
        lambda: merge([lost, lost], "ensemble", base=llama()),
        lambda: lost.attach(llama()),
        lambda: lost.update(llama()),
    ):
        with pytest.raises(ValueError, match=said):
            use()
