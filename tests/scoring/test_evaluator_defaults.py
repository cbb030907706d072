"""What an evaluator does when nothing else is asked for, what it keeps, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from coto_lab import Adapter, Classification, Evaluator, Recipe, Run, Variant, fit
from coto_lab.scoring.evaluator import evaluator_for
from coto_lab.scoring.sites import find_sites


def test_the_test_split_is_scored_together_and_without_logits(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    evaluator = Evaluator(tiny_task)
    variants = [Variant(run.adapter) for run in runs]
    scores = evaluator(variants)
    assert scores.outputs is None and scores.values["loss"].shape == (2, 45)
    assert torch.equal(scores.loss, evaluator(variants, split="test", outputs=True).loss)
    (tree,) = evaluator._trees.values()
    assert tree is not None and tree.batch_size == 64 and not evaluator._models
    assert evaluator(variants, split="train").values["loss"].shape == (2, 30)


def test_batches_of_one_example_are_the_smallest(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    variants = [Variant(runs[0].adapter)]
    torch.testing.assert_close(Evaluator(tiny_task, batch_size=1)(variants).loss, Evaluator(tiny_task)(variants).loss)
    with pytest.raises(ValueError, match="batch_size=0: must be a whole number, at least 1"):
        Evaluator(tiny_task, batch_size=0)


def test_sites_are_those_of_the_adapter_and_are_found_once(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    evaluator = Evaluator(tiny_task)
    sites = evaluator.sites(runs[0].adapter)
    assert sites == find_sites(tiny_task.load_base(), runs[0].adapter) and len(sites) == 8
    assert evaluator.sites(runs[1].adapter) is sites
    wrong = {name.replace("layers", "blocks"): tensor for name, tensor in runs[0].adapter.tensors.items()}
    with pytest.raises(ValueError, match="does not fit the base model"):
        evaluator.sites(replace(runs[0].adapter, tensors=wrong))


def test_each_split_is_tried_once(tiny_task: Classification, runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    original = Classification.batch

    def batch(self: Classification, split: str, indices: object) -> object:
        asked.append((split, len(indices)))  # type: ignore[arg-type]
        return original(self, split, indices)

    monkeypatch.setattr(Classification, "batch", batch)
    evaluator = Evaluator(tiny_task, batch_size=45, together=False)
    variants = [Variant(runs[0].adapter)]
    for split in ("test", "test", "train", "train"):
        evaluator(variants, split=split)
    tried = {split: [(split, 2)] * 2 for split in ("test", "train")}  # once to show two examples, and once to predict them
    assert asked == [*tried["test"], ("test", 45), ("test", 45), *tried["train"], ("train", 30), ("train", 30)]


@pytest.fixture(scope="module")
def mixed(tiny_task: Classification) -> list[Adapter]:
    recipes = [Recipe(r=2, steps=4, lr=0.05), Recipe("dora", r=2, steps=4, lr=0.05), Recipe(r=2, steps=4, lr=0.05, seed=1)]
    return [fit(tiny_task, recipe, progress=False).adapter for recipe in recipes]


def test_what_is_built_is_kept_for_each_configuration(tiny_task: Classification, mixed: list[Adapter]) -> None:
    evaluator = Evaluator(tiny_task)
    variants = [Variant(adapter, name=str(i)) for i, adapter in enumerate(mixed)]
    first = evaluator(variants)
    kept = [*evaluator._trees.values(), *evaluator._models.values(), evaluator._base]
    assert len(kept) == 3 and torch.equal(evaluator(variants).loss, first.loss)
    assert all(
        a is b for a, b in zip(kept, [*evaluator._trees.values(), *evaluator._models.values(), evaluator._base], strict=True)
    )
    assert first.names == ("0", "1", "2")  # in their order, though the second was scored by itself
    alone = torch.cat([evaluator([variant]).loss for variant in variants])
    torch.testing.assert_close(first.loss, alone)


def test_the_order_of_the_settings_makes_no_other_configuration(tiny_task: Classification, mixed: list[Adapter]) -> None:
    evaluator = Evaluator(tiny_task)
    dora = mixed[1]
    gates = evaluator.gates(dora)
    assert evaluator.gates(replace(dora, config=dict(reversed(dora.config.items())))) is gates


def test_logits_of_a_task_without_classes_are_refused(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    with pytest.raises(ValueError, match="outputs=True: task 'tiny' has no classes, so there are no class logits"):
        Evaluator(replace(tiny_task, classes=()))([Variant(runs[0].adapter)], outputs=True)


def test_an_evaluator_is_that_of_its_task_or_of_an_equal_one(tiny_task: Classification) -> None:
    evaluator = Evaluator(tiny_task)
    assert evaluator_for(tiny_task, evaluator) is evaluator
    assert evaluator_for(replace(tiny_task), evaluator) is evaluator  # loaded a second time
    assert evaluator_for(tiny_task, None).task is tiny_task
    with pytest.raises(TypeError, match="evaluator=3: give an Evaluator"):
        evaluator_for(tiny_task, 3)  # type: ignore[arg-type]
    for other in (replace(tiny_task, name="other"), replace(tiny_task, base="other"), replace(tiny_task, test=tiny_task.train)):
        with pytest.raises(ValueError, match="evaluator scores on task 'tiny' with 45 test examples"):
            evaluator_for(other, evaluator)
