"""Adapters with a head that was trained whole: scored together where several variants share it, and measured by probes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from tiny_models import adapted, bert
from tiny_tasks import Headed, bert_task, headed_task

from coto_lab import Adapter, Evaluator, Linear, Recipe, Training, Variant, fit, merge, prune
from coto_lab.probes.geometry import geometry
from coto_lab.probes.growth import growth
from coto_lab.scoring.tree import TreeScorer

RECIPE = Recipe(r=2, alpha=3, steps=4, batch_size=6, lr=0.01)
MASKS = [torch.tensor(mask) for mask in ([True, True], [True, False], [False, True], [False, False])]


@pytest.fixture(scope="module")
def task() -> Headed:
    return headed_task()


@pytest.fixture(scope="module")
def adapters(task: Headed) -> list[Adapter]:
    return [fit(task, replace(RECIPE, seed=seed, schedule=Linear()), progress=False).adapter for seed in range(2)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many variants each scoring together had."""
    found: list[int] = []
    score = TreeScorer.score

    def counted(self: TreeScorer, adapters, *rest) -> None:
        found.append(len(adapters))
        score(self, adapters, *rest)

    monkeypatch.setattr(TreeScorer, "score", counted)
    return found


def test_variants_of_one_adapter_are_scored_together_as_one_by_one(
    task: Headed, adapters: list[Adapter], calls: list[int]
) -> None:
    variants = [Variant(adapter, mask) for mask in MASKS for adapter in adapters] + [Variant(merge(adapters))]
    evaluator = Evaluator(task)
    together = evaluator(variants, outputs=True)
    assert sorted(calls) == [4, 4], "and the fused one, which has a head of its own, alone"
    alone = Evaluator(task, together=False)(variants, outputs=True)
    torch.testing.assert_close(together.logits, alone.logits)
    assert not torch.equal(together.logits[-2], together.logits[-3]), "two heads on the bare base"
    again = evaluator(variants, outputs=True)
    assert torch.equal(again.logits, together.logits)


def test_an_adapter_without_a_head_is_scored_as_before(adapters: list[Adapter], calls: list[int]) -> None:
    """Heads that were put into a base of their own do not stay for others, where the task's own head is a trained one."""
    plain = adapters[0].apart()[0]
    evaluator = Evaluator(bert_task(0.0))
    before = evaluator([Variant(plain)], outputs=True)
    evaluator([Variant(adapters[0], mask) for mask in MASKS])
    after = evaluator([Variant(plain)], outputs=True)
    assert calls == [1, 4, 1] and torch.equal(before.logits, after.logits)


@pytest.mark.parametrize(
    "score", [lambda task, adapter: Evaluator(task)([Variant(adapter)]), prune], ids=["variants", "a probe"]
)
def test_an_adapter_without_the_new_head_is_refused(task: Headed, adapters: list[Adapter], score: Callable) -> None:
    on_the_head = Adapter.from_model(adapted("LoRA", bert(), targets=["query", "classifier"]))
    for adapter in (adapters[0].apart()[0], replace(on_the_head, base=task.base)):
        with pytest.raises(ValueError, match=r"(variants\[0\]|run) does not hold 'classifier', which is new in the base model"):
            score(task, adapter)


def test_growth_and_geometry_are_of_the_updates(task: Headed, adapters: list[Adapter]) -> None:
    lengths = growth(task, RECIPE, steps=4).length
    assert lengths.shape == (4, 2) and (lengths[-1] > 0).all()
    with_heads = geometry({"a": adapters[0], "b": adapters[1]}, space="update")
    without = geometry({"a": adapters[0].apart()[0], "b": adapters[1].apart()[0]}, space="update")
    assert torch.equal(with_heads.gram, without.gram)


@pytest.mark.parametrize("method", ["LoRA", "DoRA", "HiRA"])
def test_an_adapter_apart(method: str) -> None:
    adapter = Adapter.from_model(adapted(method, bert(), targets=["query"], modules_to_save=["classifier"]))
    plain, whole = adapter.apart()
    assert whole.keys() == {"classifier.weight", "classifier.bias"}
    assert {**plain.tensors, **{f"base_model.model.{name}": tensor for name, tensor in whole.items()}} == adapter.tensors
    assert not plain.config["modules_to_save"] and plain.base == adapter.base and plain.modules == adapter.modules
    assert plain.apart() == (plain, {})


def test_the_two_parts_compute_what_the_adapter_does() -> None:
    model = peft.get_peft_model(bert(), peft.LoraConfig(target_modules=["query"], modules_to_save=["classifier"]))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    adapter = Adapter.from_model(model)
    plain, whole = adapter.apart()
    base = bert()
    base.load_state_dict(base.state_dict() | whole)
    tokens = torch.arange(12).reshape(2, 6)
    with torch.no_grad():
        expected = model.eval()(tokens).logits
        assert torch.equal(plain.attach(base)(tokens).logits, expected)


def test_an_interrupted_training_goes_on_with_its_head(task: Headed, tmp_path: Path) -> None:
    recipe = replace(RECIPE, schedule=Linear())
    whole = fit(task, recipe, progress=False)
    first = Training(task, recipe)
    for _ in range(2):
        first.step()
    first.save(tmp_path / "state")
    resumed = fit(task, recipe, checkpoint=tmp_path / "state", progress=False)
    assert whole.adapter.tensors.keys() == resumed.adapter.tensors.keys()
    assert all(torch.equal(tensor, resumed.adapter.tensors[key]) for key, tensor in whole.adapter.tensors.items())
