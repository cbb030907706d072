"""Updates side by side, and a LoRA from factors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from merging_cases import MODULE, assert_updates, dense, lora, made, only, random_pair
from tiny_models import adapted, gpt2, vit

from coto_lab import Adapter
from coto_lab.merging.updates import factors_of, is_transposed, lora_of_factors, updates_of


def test_factors_have_the_scale_in_b() -> None:
    adapters = [lora(0, r=2, alpha=3, use_rslora=True), lora(1, r=1, alpha=5)]
    for name, pairs in factors_of(adapters).items():
        for adapter, (a, b) in zip(adapters, pairs, strict=True):
            torch.testing.assert_close((b @ a).double(), dense(adapter)[name], rtol=1e-5, atol=1e-6)


def test_updates_come_one_module_after_the_other_by_the_bases_names() -> None:
    adapters = [lora(0), lora(1, r=3)]
    found = dict(updates_of(adapters))
    expected = [{name.removeprefix("base_model.model."): own for name, own in dense(adapter).items()} for adapter in adapters]
    assert list(found) == sorted(expected[0])
    for name, updates in found.items():
        torch.testing.assert_close(updates.double(), torch.stack([own[name] for own in expected]), rtol=1e-4, atol=1e-5)


def test_products_and_other_updates_mix() -> None:
    plain, dora = lora(0), lora(1, use_dora=True)
    key = {k: v for k, v in plain.tensors.items() if "magnitude" not in k}
    found = dict(updates_of([replace(plain, tensors=key), dora], vit()))
    for name, updates in found.items():
        torch.testing.assert_close(updates[1], dora.update(vit())[name])
        torch.testing.assert_close(updates[0], plain.update(vit())[name], rtol=1e-4, atol=1e-5)


def test_factors_become_a_lora_of_one_rank() -> None:
    (a, b), (c, d) = random_pair(0, r=2), random_pair(1, r=3)
    merged = lora_of_factors({MODULE: (a, b), "base_model.model.other": (c, d)}, made(a, b, use_rslora=True))
    assert (merged.config["r"], merged.config["lora_alpha"], merged.config["use_rslora"]) == (3, 3, False)
    assert {tuple(tensor.shape) for tensor in merged.tensors.values()} == {(3, 7), (5, 3)}
    assert all(tensor.is_contiguous() for tensor in merged.tensors.values())
    assert_updates(dense(merged), {MODULE: b @ a, "base_model.model.other": d @ c})
    assert only(made(a, b)).shape == (5, 7)


def test_how_weights_are_stored_is_said_by_the_base_or_the_adapters() -> None:
    plain = lora(0)
    transposed = replace(plain, config=plain.config | {"fan_in_fan_out": True})
    assert is_transposed([plain, transposed], [], None) and not is_transposed([plain], [], None)
    assert is_transposed([plain], ["transformer.h.0.attn.c_attn"], gpt2())
    assert not is_transposed([transposed], ["vit.layers.0.attention.q_proj"], vit())


def test_what_is_no_product_or_was_trained_whole_is_refused() -> None:
    hira = Adapter.from_model(adapted("HiRA", vit()))
    with pytest.raises(ValueError, match=r"adapter 1: .*this is HIRA.* Rules on the factors of LoRA take no other adapters"):
        factors_of([lora(0), hira])
    with pytest.raises(ValueError, match=r"this rule mixes the updates ΔW: .*this is HIRA.* or give base=task\.load_base\(\)"):
        list(updates_of([lora(0), hira]))
    headed = lora(0, modules_to_save=["classifier"])
    for use in (factors_of, lambda adapters: list(updates_of(adapters))):
        with pytest.raises(ValueError, match=r"classifier\.\w+ is no update: it was trained whole \(modules_to_save\)"):
            use([headed, headed])
