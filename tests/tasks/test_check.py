"""A task that does not keep to the protocol is refused before anything is trained, scored or written."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_tasks import CopyTask
from torch import Tensor, nn

from coto_lab import Classification, Evaluator, Recipe, Training, Variant, fit, fit_many
from coto_lab.tasks.check import check_task, measured, try_task

RECIPE = Recipe(r=2, steps=2, batch_size=4)


class Measures(CopyTask):
    """Its measures are changed by a function."""

    def __init__(self, change: Callable[[dict[str, Tensor]], Any]):
        super().__init__()
        self._change = change

    def measure(self, prediction: Tensor, batch: dict[str, Tensor]) -> Any:
        return self._change(super().measure(prediction, batch))


def without(name: str) -> object:
    """A task that lacks one member."""
    members = {key: value for key, value in vars(CopyTask).items() if not key.startswith("__") or key == "__init__"}
    return type("Partial", (), {key: value for key, value in members.items() if key != name})()


@pytest.mark.parametrize(
    "name", ["name", "base", "target_modules", "classes", "load_base", "size", "batch", "predict", "loss", "measure", "show"]
)
def test_a_task_that_lacks_a_member_is_refused_by_all_that_take_one(name: str, tmp_path: Path) -> None:
    task = without(name)
    said = rf"task \(Partial\) is no Task: it lacks {name}\. coto_lab\.Task lists"
    for use in (check_task, Evaluator, lambda task: Training(task, RECIPE), lambda task: fit_many(task, [RECIPE] * 2)):
        with pytest.raises(TypeError, match=said):
            use(task)
    with pytest.raises(TypeError, match=said):
        fit(task, RECIPE, checkpoint=tmp_path / "state", progress=False)
    assert list(tmp_path.iterdir()) == []


BAD = {
    "no loss": (lambda values: {"correct": values["correct"]}, "lacks ['loss']"),
    "nothing": (lambda values: {}, "lacks ['loss', 'correct']"),
    "one number": (lambda values: values | {"loss": values["loss"].mean()}, "returned 'loss' as [] for a batch of 2 examples"),
    "another length": (lambda values: values | {"correct": values["correct"][:1]}, "returned 'correct' as [1]"),
    "no tensor": (lambda values: values | {"f1": 0.5}, "returned 'f1' as float"),
    "NaN": (lambda values: values | {"loss": values["loss"] / 0 * 0}, "'loss' of task 'copy' is [nan, nan] for the base model"),
    "infinite": (lambda values: values | {"bits": values["loss"] / 0}, "'bits' of task 'copy' is [inf, inf] for the base"),
}


@pytest.mark.parametrize(("change", "said"), BAD.values(), ids=BAD)
def test_a_measure_that_does_not_fit_is_refused_before_anything_is_trained_or_scored(change: Any, said: str) -> None:
    task = Measures(change)
    for use in (lambda: Training(task, RECIPE), lambda: fit_many(task, [RECIPE, RECIPE]), lambda: Evaluator(task)([variant()])):
        with pytest.raises(ValueError, match=re.escape(said)):
            use()


def variant() -> Variant:
    return Variant(Training(CopyTask(), RECIPE).run().adapter)


def test_a_loss_of_another_length_is_refused() -> None:
    class Mean(CopyTask):
        def loss(self, prediction: Tensor, batch: dict[str, Tensor]) -> Tensor:
            return super().loss(prediction, batch).mean()

    with pytest.raises(ValueError, match=r"loss of task 'copy' is \[\] for a batch of 2 examples: .*takes the mean itself"):
        Training(Mean(), RECIPE)


class Wrong(CopyTask):
    """One part returns something else."""

    def __init__(self, part: str, value: Any):
        super().__init__()
        setattr(self, part, lambda *_: value)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Wrong("predict", ("logits",)), "predict of task 'copy' returned a tuple: return a tensor [n, ...]"),
        (Wrong("loss", 0.5), "loss of task 'copy' is 0.5 for a batch of 2 examples"),
        (Wrong("measure", None), "measure of task 'copy' returned a NoneType: return a dict"),
        (
            Wrong("batch", CopyTask().batch("train", [0])),
            "returned {'input_ids': 1, 'attention_mask': 1, 'targets': 1}",
        ),
    ],
    ids=["predict", "loss", "measure", "batch"],
)
def test_what_a_part_returns_is_looked_at(task: CopyTask, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        Training(task, RECIPE)


def test_classes_must_be_as_many_as_logits(tiny_task: Classification) -> None:
    with pytest.raises(
        ValueError, match=r"has 3 classes, so predict must return \[n, 3\] \(it returned \[2, 2\] for 2 examples\)"
    ):
        Training(TwoLogits(**{field.name: getattr(tiny_task, field.name) for field in fields(Classification)}), RECIPE)


class TwoLogits(Classification):
    """One logit too few."""

    def predict(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return super().predict(model, batch)[:, :2]


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(ValueError, match="task 'copy' has no test examples"):
        Evaluator(CopyTask(test=0))([variant()])


def test_trying_a_task_leaves_the_model_and_the_random_numbers_alone() -> None:
    task = CopyTask()
    model = task.load_base().train()
    before = torch.get_rng_state()
    try_task(task, model, "train")
    assert model.training and torch.equal(torch.get_rng_state(), before)


def test_measures_come_as_doubles() -> None:
    task, batch = CopyTask(), CopyTask().batch("test", range(5))
    with torch.no_grad():
        values = measured(task, task.predict(task.load_base().eval(), batch), batch)
    assert {name: (value.dtype, value.shape) for name, value in values.items()} == dict.fromkeys(
        ("loss", "correct"), (torch.float64, torch.Size([5]))
    )
