"""A causal language model of the tests' own, by the protocol alone, through all that trains and scores."""

from __future__ import annotations

import pytest
import torch
from tiny_tasks import CopyTask
from torch import Tensor, nn

from coto_lab import (
    Constant,
    Evaluator,
    Linear,
    Recipe,
    Run,
    Variant,
    fit,
    fit_many,
    interpolate,
    merge,
    prune,
    shapley,
    stability,
)  # fmt: skip
from coto_lab.probes.theory import jensen

RECIPE = Recipe(r=4, alpha=16, steps=30, batch_size=8, lr=0.03, schedule=Linear())


class Counting(CopyTask):
    """Counts how often its base is loaded."""

    loads = 0

    def load_base(self) -> nn.Module:
        self.loads += 1
        return super().load_base()


@pytest.fixture(scope="module")
def task() -> CopyTask:
    return CopyTask()


@pytest.fixture(scope="module")
def trained(task: CopyTask) -> list[Run]:
    recipes = [RECIPE, Recipe(**vars(RECIPE) | {"seed": 1}), Recipe(**vars(RECIPE) | {"schedule": Constant()})]
    return fit_many(task, recipes, progress=False)


def test_training_learns_and_together_as_alone(task: CopyTask, trained: list[Run]) -> None:
    alone = fit(task, trained[0].recipe, progress=False)
    torch.testing.assert_close(trained[0].history.loss, alone.history.loss, rtol=0, atol=1e-3)
    assert alone.history.loss[-5:].mean() < 0.8 * alone.history.loss[:5].mean()
    assert not alone.diverged and alone.adapter.base == task.base


def test_scores_are_those_of_generation(task: CopyTask, trained: list[Run]) -> None:
    """Greedy decoding gives the right answer exactly where every token of it is the most likely one."""
    model = trained[2].adapter.attach(task.load_base())
    scores = Evaluator(task)([Variant(trained[2].adapter)])
    for i in range(task.size("test")):
        batch = task.batch("test", [i])
        targets = batch["targets"][0]
        prompt = batch["input_ids"][:, : int((targets >= 0).nonzero()[0])]
        with torch.no_grad():
            written = model.generate(
                input_ids=prompt, attention_mask=torch.ones_like(prompt), do_sample=False, eos_token_id=None,
                max_new_tokens=int((targets >= 0).sum()), pad_token_id=8,
            )  # fmt: skip
        right = torch.equal(written[0, prompt.shape[1] :], targets[targets >= 0])
        assert right == bool(scores.values["correct"][0, i]), i
    assert scores.outputs is None and scores.labels is None


def test_variants_score_together_as_one_by_one(task: CopyTask, trained: list[Run]) -> None:
    masks = [None, *(torch.rand(4, generator=torch.Generator().manual_seed(seed)) < 0.5 for seed in range(6))]
    variants = [Variant(run.adapter, mask) for run in trained for mask in masks]
    together, alone = Evaluator(task, batch_size=7), Evaluator(task, batch_size=16, together=False)
    found, expected = together(variants), alone(variants)
    torch.testing.assert_close(found.values["loss"], expected.values["loss"], rtol=0, atol=1e-5)
    assert torch.equal(found.values["correct"], expected.values["correct"])
    assert [tree is not None for tree in together._trees.values()] == [True], "they did share their lower blocks"


def test_every_probe_without_classes(task: CopyTask, trained: list[Run]) -> None:
    first, second, _ = trained
    evaluator = Evaluator(task)
    curve = interpolate(task, first, second, alphas=5, evaluator=evaluator)
    middle = evaluator([Variant(merge([first, second]))])
    assert curve.loss[2].item() == pytest.approx(middle.loss.item(), abs=1e-6)
    table = prune(task, first, evaluator=evaluator)
    assert table.loss[0] == curve.loss[0] and len(table.patterns) == 8
    values = shapley(task, first, value="loss", evaluator=evaluator)
    assert values.values.sum().item() == pytest.approx(table.loss[-1].item() - table.loss[0].item(), abs=1e-6)
    assert stability(task, first, samples=3, evaluator=evaluator).loss[-1] == curve.loss[0]
    with pytest.raises(ValueError, match="task 'copy' has no classes, so there are no class logits to average"):
        jensen(task, first)


def test_the_base_is_loaded_once_for_scores_and_once_for_ten_runs() -> None:
    task = Counting()
    runs = fit_many(task, [Recipe(r=2, steps=2, batch_size=4, seed=seed) for seed in range(10)], progress=False)
    assert task.loads <= 2
    dora, hira = (fit(task, Recipe(method=name, r=2, steps=2, batch_size=4), progress=False) for name in ("dora", "hira"))
    task.loads = 0
    evaluator = Evaluator(task)
    for _ in range(2):
        evaluator([Variant(run.adapter) for run in (dora, hira, runs[0], dora, hira)])
        prune(task, dora, evaluator=evaluator)
    assert task.loads == 1


class ManyWords(CopyTask):
    """The same task by a model with a vocabulary as large as a real one's."""

    def load_base(self) -> nn.Module:
        model = super().load_base()
        model.resize_token_embeddings(32_000, mean_resizing=False)
        return model


def test_scores_of_a_large_vocabulary_hold_no_logits_and_stay_within_the_memory(trained: list[Run]) -> None:
    task = ManyWords(test=24)
    sizes: list[int] = []
    predict = task.predict

    def spied(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        prediction = predict(model, batch)
        sizes.append(prediction.nbytes)
        return prediction

    task.predict = spied
    memory = 2**26
    masks = [torch.arange(4) < n for n in range(5)] * 4
    scores = Evaluator(task, batch_size=8, memory=memory)([Variant(trained[i % 3].adapter, m) for i, m in enumerate(masks)])
    assert {value.shape for value in scores.values.values()} == {(20, 24)} and scores.outputs is None
    assert max(sizes) <= memory < len(masks) * 24 * 6 * 32_000 * 4, "all logits together would not fit"
