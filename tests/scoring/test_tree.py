"""Variants scored together score what they score one by one, with the work and the memory that are promised."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import peft
import pytest
import torch
from tiny_models import randomise
from tiny_tasks import caching_task, gpt2_task, in_place_task, language_task, lora_adapters, swin_task
from torch import nn
from torch.profiler import ProfilerActivity, profile

from coto_lab import Adapter, Evaluator, Recipe, Scores, Task, Variant, fit, interpolate

NOT_LORA = ("dora", "hira")


@pytest.fixture(scope="module")
def adapters(tiny_task: Task) -> dict[str, Adapter]:
    recipe = Recipe(r=2, steps=8, lr=0.05, batch_size=10)
    recipes = {
        "a": recipe,
        "b": replace(recipe, seed=1),
        "rank 1": replace(recipe, r=1, alpha=1.0),
        "rank 5": replace(recipe, r=5),
        **{method: replace(recipe, method=method) for method in NOT_LORA},
    }
    return {name: fit(tiny_task, recipe, progress=False).adapter for name, recipe in recipes.items()}


@pytest.fixture(scope="module")
def plain(adapters: dict[str, Adapter]) -> list[Adapter]:
    return [adapter for name, adapter in adapters.items() if name not in NOT_LORA]


def random_variants(adapters: list[Adapter], n: int, seed: int = 0, blocks: int = 4, modules: int = 8) -> list[Variant]:
    """Adapters in any order, under random masks of either kind and none."""
    generator = torch.Generator().manual_seed(seed)
    masks = [lambda: torch.rand(blocks, generator=generator) < 0.5, lambda: torch.rand(modules, generator=generator) < 0.7]
    kinds = [*masks, *masks, lambda: None]
    picks = torch.randint(len(adapters), (n,), generator=generator).tolist()
    return [Variant(adapters[pick], kinds[i % 5](), name=f"{i}") for i, pick in enumerate(picks)]


def assert_same(found: Scores, expected: Scores) -> None:
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=1e-5)
    assert torch.equal(found.accuracy, expected.accuracy)
    assert found.names == expected.names and torch.equal(found.labels, expected.labels)


def scorer(evaluator: Evaluator) -> object:
    (only,) = evaluator._trees.values()
    return only


def one_row(task: Task, adapter: Adapter, batch_size: int) -> int:
    """Bytes of one variant, as the refusal of too few says."""
    with pytest.raises(
        ValueError, match=rf"memory=1: too small for one variant, .* at batch_size={batch_size}; give"
    ) as refusal:
        Evaluator(task, batch_size=batch_size, memory=1)([Variant(adapter)])
    return int(str(refusal.value).split("about ")[1].split()[0])


@pytest.fixture(scope="module")
def loop(tiny_task: Task) -> Evaluator:
    return Evaluator(tiny_task, together=False)


# --- The same scores -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["test", "train"])
def test_random_variants_score_as_in_the_loop(
    tiny_task: Task, plain: list[Adapter], evaluator: Evaluator, loop: Evaluator, split: str
) -> None:
    variants = random_variants(plain, 40)
    expected = loop(variants, split=split, outputs=True)
    assert_same(evaluator(variants, split=split, outputs=True), expected)
    assert expected.logits.std(0).mean() > 0.1, "they do differ"
    assert scorer(evaluator) is not None and loop._trees == {}


@pytest.mark.parametrize(("batch_size", "rows"), [(1, 7), (16, 1), (16, 2), (44, 7), (100, 3)])
def test_batch_size_and_memory_do_not_matter(
    tiny_task: Task, plain: list[Adapter], loop: Evaluator, batch_size: int, rows: int
) -> None:
    variants = random_variants(plain, 12, seed=1)
    memory = rows * one_row(tiny_task, plain[0], batch_size)
    evaluator = Evaluator(tiny_task, batch_size=batch_size, memory=memory)
    assert_same(evaluator(variants, outputs=True), loop(variants, outputs=True))
    assert scorer(evaluator).max_rows == rows


def test_one_variant_and_many_of_the_same_score_the_same(plain: list[Adapter], evaluator: Evaluator, loop: Evaluator) -> None:
    a, b = plain[:2]
    shut = torch.zeros(4, dtype=torch.bool)
    variants = [Variant(a), Variant(b, shut), Variant(a), Variant(replace(a)), Variant(a, shut), Variant(a, ~shut)]
    scores = evaluator(variants, outputs=True)
    assert_same(scores, loop(variants, outputs=True))
    assert torch.equal(scores.logits[0], scores.logits[2]) and torch.equal(scores.logits[0], scores.logits[5])
    assert torch.equal(scores.logits[1], scores.logits[4])
    assert_same(evaluator(variants[:1], outputs=True), loop(variants[:1], outputs=True))


@pytest.mark.parametrize("how", ["fuse", "ensemble"])
def test_a_curve_scores_as_in_the_loop(tiny_task, runs, evaluator: Evaluator, loop: Evaluator, how: str) -> None:
    found, expected = (interpolate(tiny_task, *runs, alphas=7, how=how, evaluator=each) for each in (evaluator, loop))
    assert torch.equal(found.accuracy, expected.accuracy)
    torch.testing.assert_close(found.loss, expected.loss, rtol=0, atol=1e-5)


def test_adapters_of_other_methods_go_one_by_one_and_come_back_in_order(
    tiny_task: Task, adapters: dict[str, Adapter], loop: Evaluator
) -> None:
    names = ["a", "dora", "rank 5", "hira", "b", "dora", "a"]
    masks = [variant.mask for variant in random_variants([adapters["a"]], len(names), seed=3)]
    variants = [Variant(adapters[name], mask, name=name) for name, mask in zip(names, masks, strict=True)]
    evaluator = Evaluator(tiny_task)
    assert_same(evaluator(variants, outputs=True), loop(variants, outputs=True))
    for variant, logits in zip(variants, evaluator(variants, outputs=True).logits, strict=True):
        torch.testing.assert_close(logits, loop([variant], outputs=True).logits[0], rtol=0, atol=1e-5)


def test_adapters_on_other_layers_are_scored_in_one_call(tiny_task: Task, plain: list[Adapter], loop: Evaluator) -> None:
    config = peft.LoraConfig(r=2, target_modules=["k_proj", "fc1"], layers_to_transform=[1, 3], layers_pattern="layers")
    elsewhere = Adapter.from_model(randomise(peft.get_peft_model(tiny_task.load_base(), config)))
    mask = torch.tensor([True, False])
    variants = [Variant(plain[0]), Variant(elsewhere, mask), Variant(plain[1]), Variant(elsewhere)]
    evaluator = Evaluator(tiny_task)
    assert_same(evaluator(variants, outputs=True), loop(variants, outputs=True))
    assert len(evaluator._trees) == 2 and None not in evaluator._trees.values()


@pytest.mark.parametrize("together", [True, False])
def test_global_random_numbers_are_untouched(tiny_task: Task, adapters: dict[str, Adapter], together: bool) -> None:
    before = torch.get_rng_state()
    evaluator = Evaluator(tiny_task, together=together)
    evaluator([Variant(adapter) for adapter in adapters.values()], outputs=True)
    evaluator.gates(adapters["a"])
    assert torch.equal(torch.get_rng_state(), before)


# --- The work --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(tiny_task: Task) -> tuple[Task, list[int]]:
    """The tiny task, and how many examples have gone through each block."""
    counts = [0] * 4

    def load() -> nn.Module:
        model = tiny_task.load_base()
        for i, block in enumerate(model.vit.layers):
            block.mlp.register_forward_hook(lambda _, __, output, i=i: counts.__setitem__(i, counts[i] + len(output)))
        return model

    return replace(tiny_task, load_base=load), counts


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_coalitions_share_the_blocks_below_their_first_difference(
    counted: tuple[Task, list[int]], plain: list[Adapter], loop: Evaluator, rows: int
) -> None:
    task, counts = counted
    evaluator = Evaluator(task, memory=rows * one_row(task, plain[0], 64))
    evaluator([Variant(plain[0])], outputs=True)
    counts[:] = [0] * 4
    variants = [Variant(plain[0], torch.tensor(mask)) for mask in product([True, False], repeat=4)]
    scores = evaluator(variants, outputs=True)
    assert counts == [n * 45 for n in (2, 4, 8, 16)], "blocks of 45 examples: 30 instead of 64"
    assert_same(scores, loop(variants, outputs=True))


def test_adapters_share_what_lies_below_their_lowest_open_block(counted: tuple[Task, list[int]], plain: list[Adapter]) -> None:
    task, counts = counted
    evaluator = Evaluator(task)
    evaluator([Variant(plain[0])], outputs=True)
    counts[:] = [0] * 4
    high = torch.tensor([False, False, False, True])
    evaluator([Variant(adapter, high) for adapter in plain], outputs=True)
    assert counts == [45, 45, 45, 45 * len(plain)]


def test_what_comes_before_the_blocks_is_computed_once_to_enter_and_once_to_leave(
    tiny_task: Task, plain: list[Adapter]
) -> None:
    counts: list[int] = []

    def load() -> nn.Module:
        model = tiny_task.load_base()
        model.vit.embeddings.register_forward_hook(lambda _, __, output: counts.append(len(output)))
        return model

    evaluator = Evaluator(replace(tiny_task, load_base=load))
    for _ in range(2):  # the first call tries the model, too
        counts.clear()
        evaluator([Variant(plain[0])])
    assert counts == [45, 45]


def test_an_adapter_of_a_single_layer_is_scored_together(tiny_task: Task, loop: Evaluator) -> None:
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=[2], layers_pattern="layers")
    adapter = Adapter.from_model(randomise(peft.get_peft_model(tiny_task.load_base(), config)))
    variants = [Variant(adapter), Variant(adapter, torch.tensor([False]))]
    evaluator = Evaluator(tiny_task)
    assert_same(evaluator(variants, outputs=True), loop(variants, outputs=True))
    assert scorer(evaluator) is not None


def test_the_base_is_built_once(tiny_task: Task, plain: list[Adapter]) -> None:
    built = []
    evaluator = Evaluator(replace(tiny_task, load_base=lambda: built.append(1) or tiny_task.load_base()))
    for _ in range(2):
        evaluator(random_variants(plain, 5), outputs=True)
    assert len(built) == 1


# --- The memory ------------------------------------------------------------------------------------------------------------


def test_too_little_memory_is_refused_and_just_enough_is_not(tiny_task: Task, plain: list[Adapter], loop: Evaluator) -> None:
    least = one_row(tiny_task, plain[0], 16)
    assert one_row(tiny_task, plain[0], 32) == 2 * least
    with pytest.raises(ValueError, match=f"memory={least - 1}: too small"):
        Evaluator(tiny_task, batch_size=16, memory=least - 1)([Variant(plain[0])])
    assert_same(
        Evaluator(tiny_task, batch_size=16, memory=least)([Variant(plain[0])], outputs=True),
        loop([Variant(plain[0])], outputs=True),
    )


def test_the_copies_of_open_rows_that_a_layer_makes_where_one_is_shut_are_counted(
    tiny_task: Task, plain: list[Adapter]
) -> None:
    model = peft.get_peft_model(tiny_task.load_base(), peft.LoraConfig(r=2, target_modules=["fc1"]))  # in the widest part
    assert one_row(tiny_task, Adapter.from_model(randomise(model)), 45) > one_row(tiny_task, plain[0], 45)


def peak_memory(run: Callable[[], object], trace: Path) -> int:
    """The most bytes that were allocated at one time, by torch's profiler."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    profiler.export_chrome_trace(str(trace))
    events = [event for event in json.loads(trace.read_text())["traceEvents"] if event["name"] == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        now += event["args"]["Bytes"]
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize(("model", "rows", "least"), [("vit", 1, 0.8), ("vit", 12, 0.65), ("llama", 3, 0.78)])
def test_the_peak_stays_within_the_memory(
    tiny_task: Task, plain: list[Adapter], tmp_path: Path, model: str, rows: int, least: float
) -> None:
    if model == "vit":
        task, chosen, batch_size = tiny_task, plain[:1], 45
    else:  # where attention written out takes most
        task = language_task(length=64, attn_implementation="eager")
        chosen, batch_size = lora_adapters(task)[:1], 12
    memory = rows * one_row(task, chosen[0], batch_size)
    evaluator = Evaluator(task, batch_size=batch_size, memory=memory)
    variants = random_variants(chosen, 30)
    evaluator(variants)
    peak = peak_memory(lambda: evaluator(variants), tmp_path / "trace.json")
    results = 2 * 8 * 30 * task.size("test")  # two measures of 30 variants in double precision, on top of the activations
    assert least * memory < peak - results < memory


# --- Other models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_cache", [False, True])  # True is what Llama's configuration says if nobody does
@pytest.mark.parametrize("padded", [False, True])
def test_a_language_model_scores_as_in_the_loop(padded: bool, use_cache: bool) -> None:
    task = language_task(padded, use_cache=use_cache)
    adapters = lora_adapters(task)
    variants = random_variants(adapters, 20)
    memory = 3 * one_row(task, adapters[0], 5)  # so few rows that blocks are computed several times for the same batch
    evaluator = Evaluator(task, batch_size=5, memory=memory)
    assert_same(evaluator(variants, outputs=True), Evaluator(task, batch_size=5, together=False)(variants, outputs=True))
    assert scorer(evaluator).max_rows == 3


@pytest.mark.parametrize("make", [gpt2_task, lambda: swin_task((2,)), lambda: swin_task((1, 1)), in_place_task, caching_task])
def test_a_model_that_is_no_chain_of_linear_layers_is_scored_in_the_loop(make: Callable[[], Task]) -> None:
    task = make()
    adapters = lora_adapters(task)
    evaluator = Evaluator(task, memory=1)  # which would be refused otherwise
    blocks = len(set(evaluator.gates(adapters[0]).blocks))
    variants = [Variant(adapter, mask) for adapter in adapters for mask in (None, torch.arange(blocks) > 0)]
    assert_same(evaluator(variants, outputs=True), Evaluator(task, together=False)(variants, outputs=True))
    assert set(evaluator._trees.values()) <= {None}
