"""What every rule keeps to: stock PEFT reads its result, and the sources and global random numbers stay as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from merging_cases import assert_updates, dense, explicit, lora, without_block
from tiny_models import gpt2, llama, vit
from torch import nn

from coto_lab import Adapter, Classification, Evaluator, Variant, merge
from coto_lab.merging.core_space import CoreSpace
from coto_lab.merging.dare import Dare
from coto_lab.merging.ensemble import Ensemble
from coto_lab.merging.lego import Lego
from coto_lab.merging.magnitude import Magnitude
from coto_lab.merging.registry import RULES
from coto_lab.merging.rule import Rule, UpdateRule, check_update_rule, checked_density, checked_scale
from coto_lab.merging.svd import Svd
from coto_lab.merging.ties import Ties

ALL: dict[str, Rule] = {
    **RULES,
    "of ties": Svd(rank=3, of=Ties()),
    "ties after dare": Dare(0.7, of=Ties(density=1)),
    "dare in core space": CoreSpace(Dare(0.7, of=Magnitude(0.8))),
    "lego of all units": Lego(rank=4),
}
ONE_RANK = {"fuse", "lora*"}
rules = pytest.mark.parametrize("rule", ALL.values(), ids=ALL)
MODELS = {
    "vit": (vit, ["q_proj", "v_proj"], {"pixel_values": torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))}),
    "llama": (llama, ["q_proj", "down_proj"], {"input_ids": torch.arange(12).view(2, 6)}),
    "gpt2": (gpt2, ["c_attn", "c_fc"], {"input_ids": torch.arange(12).view(2, 6)}),
}


def output(model: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs).logits


@pytest.mark.parametrize("kind", MODELS)
def test_stock_peft_reads_the_result_of_every_rule_with_the_same_logits(kind: str, tmp_path: Path) -> None:
    load, targets, inputs = MODELS[kind]
    settings = {"target_modules": targets, "fan_in_fan_out": kind == "gpt2"}
    adapters = [lora(seed, model=load(), use_rslora=True, **settings) for seed in (0, 1)]
    pristine = output(load().eval(), inputs)
    for name, rule in ALL.items():
        merged = merge(adapters, rule)
        merged.save(tmp_path / name.replace("*", "-star"))
        stock = peft.PeftModel.from_pretrained(load(), tmp_path / name.replace("*", "-star")).eval()
        ours = output(merged.attach(load()), inputs)
        assert torch.equal(output(stock, inputs), ours), name
        assert (ours - pristine).abs().max() > 1e-4, name
        if kind == "gpt2":  # ΔW is [out, in] for ours, and stored transposed
            by_hand = load().eval()
            for module, update in dense(merged).items():
                by_hand.get_submodule(module.removeprefix("base_model.model.")).weight.data += update.T.float()
            torch.testing.assert_close(ours, output(by_hand, inputs), rtol=1e-4, atol=1e-5)


def test_the_evaluator_scores_the_result_of_every_rule_as_stock_peft_does(tiny_task: Classification, tmp_path: Path) -> None:
    adapters = [lora(seed, model=tiny_task.load_base()) for seed in (0, 1)]
    merged = {name: merge(adapters, rule) for name, rule in ALL.items()}
    losses = Evaluator(tiny_task)([Variant(adapter) for adapter in merged.values()]).values["loss"]
    batch = tiny_task.batch("test", range(tiny_task.size("test")))
    for (name, adapter), loss in zip(merged.items(), losses, strict=True):
        adapter.save(tmp_path / "one")
        stock = peft.PeftModel.from_pretrained(tiny_task.load_base(), tmp_path / "one").eval()
        with torch.no_grad():
            expected = tiny_task.measure(tiny_task.predict(stock, batch), batch)["loss"]
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4, msg=lambda said, name=name: f"{name}: {said}")


@rules
def test_sources_and_random_numbers_stay_as_they_were(rule: Rule) -> None:
    adapters = [lora(0), lora(1)]
    before = [{key: tensor.clone() for key, tensor in adapter.tensors.items()} for adapter in adapters]
    configs = [dict(adapter.config) for adapter in adapters]
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    merged = merge(adapters, rule)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # type: ignore[index]
    for adapter, tensors, config in zip(adapters, before, configs, strict=True):
        assert adapter.config == config and all(torch.equal(adapter.tensors[key], t) for key, t in tensors.items())
    for tensor in merged.tensors.values():
        tensor.zero_()  # nor does the result share their memory
    assert all(torch.equal(a.tensors[key], t) for a, own in zip(adapters, before, strict=True) for key, t in own.items())


@rules
def test_the_same_call_gives_the_same_result(rule: Rule) -> None:
    first, second = (dense(merge([lora(0), lora(1)], rule)) for _ in range(2))
    assert all(torch.equal(update, second[name]) for name, update in first.items())


@rules
def test_weights_matter_and_the_default_is_as_the_rule_says(rule: Rule) -> None:
    adapters = [lora(0), lora(1), lora(2)]
    default = dense(merge(adapters, rule))
    share = 1 / 3 if rule.averages else 1.0
    assert_updates(dense(merge(adapters, rule, [share] * 3)), default)
    other = dense(merge(adapters, rule, [0.2 * share, 2 * share, 0.8 * share]))
    assert not any(torch.allclose(other[name], update, atol=1e-3) for name, update in default.items())


@pytest.mark.parametrize("name", sorted(ALL.keys() - ONE_RANK))
def test_ranks_may_differ(name: str) -> None:
    merged = dense(merge([lora(0, r=2), lora(1, r=3, alpha=1), lora(2, r=1)], ALL[name]))
    assert all(update.isfinite().all() and update.abs().max() > 0 for update in merged.values())


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"fuse"}))
def test_rank_stabilised_adapters_count_with_their_own_scale(name: str) -> None:
    adapters = [lora(0, use_rslora=True, alpha=3), lora(1, alpha=5)]
    merged = merge(adapters, ALL[name])
    assert not merged.config["use_rslora"]
    assert_updates(dense(merged), dense(merge([explicit(adapter) for adapter in adapters], ALL[name])))


@rules
def test_a_pruned_block_makes_no_nan(rule: Rule) -> None:
    adapters = [lora(0), lora(1)]
    one, both = [without_block(adapters[0]), adapters[1]], [without_block(adapter) for adapter in adapters]
    for parts in (one, one[::-1], both):
        merged = merge(parts, rule)
        assert all(tensor.isfinite().all() for tensor in merged.tensors.values())
        updates = dense(merged)
        assert any(update.any() for update in updates.values())
        if parts is both:
            assert all(update.abs().max() < 1e-6 for name, update in updates.items() if "layers.0." in name)


@rules
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_merged_in_single(rule: Rule, dtype: torch.dtype) -> None:
    def in_(adapter: Adapter, kind: torch.dtype) -> Adapter:
        return replace(adapter, tensors={key: tensor.to(kind) for key, tensor in adapter.tensors.items()})

    half = [in_(lora(0), dtype), in_(lora(1), dtype)]
    merged, expected = merge(half, rule), merge([in_(adapter, torch.float32) for adapter in half], rule)
    assert {tensor.dtype for tensor in merged.tensors.values()} == {torch.float32}
    assert all(torch.equal(tensor, expected.tensors[key]) for key, tensor in merged.tensors.items())
    mixed = merge([half[0], lora(1)], rule)
    assert {tensor.dtype for tensor in mixed.tensors.values()} == {torch.float32}


@rules
def test_bad_adapters_are_refused(rule: Rule) -> None:
    good = lora(0)
    key = next(key for key in good.tensors if "lora_B" in key)
    for value in (torch.nan, torch.inf):
        bad = replace(good, tensors=good.tensors | {key: torch.full_like(good.tensors[key], value)})
        with pytest.raises(ValueError, match=r"adapter 1 holds NaN or infinity, in .*lora_B\.weight: .* Leave it out"):
            merge([good, bad], rule)
    zero = replace(good, tensors={k: torch.zeros_like(t) if "lora_B" in k else t for k, t in good.tensors.items()})
    with pytest.raises(ValueError, match="all factors B of adapter 1 are zero, so it does nothing"):
        merge([good, zero], rule)
    with pytest.raises(ValueError, match="different methods or modules: not all have"):
        merge([good, lora(1, target_modules=["q_proj"])], rule)
    with pytest.raises(ValueError, match=r"different bases: 'one' \(number 0\), 'two' \(number 1\)"):
        merge([replace(good, base="one"), replace(lora(1), base="two")], rule)
    for weights in ([1.0], [1.0, 2.0, 3.0], [1.0, torch.nan]):
        with pytest.raises(ValueError, match=r"weights=\[.*\]: give one finite number for each of the 2 adapters"):
            merge([good, lora(1)], rule, weights)


def test_rules_on_updates_take_other_methods_with_their_base() -> None:
    adapters = [lora(seed, use_dora=True) for seed in (0, 1)]
    parts = [adapter.update(vit()) for adapter in adapters]
    for rule in (Ties(0.5), Dare(0.5), Magnitude(0.5), Ensemble()):
        merged = merge(adapters, rule, base=vit()).update(vit())
        for place, name in enumerate(merged):
            weights = torch.full((2,), 0.5 if rule.averages else 1.0)
            expected = rule.combine(torch.stack([part[name] for part in parts]), weights, place)
            torch.testing.assert_close(merged[name], expected, rtol=1e-4, atol=1e-5)
        with pytest.raises(ValueError, match=r"this rule mixes the updates ΔW: .*use_dora=True.* or give base=task\.load_base"):
            merge(adapters, rule)


def test_what_the_checks_say() -> None:
    assert checked_density(np.float32(0.5)) == 0.5 and checked_scale(-2) == -2.0 and isinstance(checked_scale(2), float)
    check_update_rule(Ties())
    with pytest.raises(TypeError, match=r"of='ties': give a rule that mixes updates entry by entry"):
        check_update_rule("ties")
    assert all(isinstance(rule, Rule) for rule in RULES.values()) and not isinstance(Svd(), UpdateRule)
