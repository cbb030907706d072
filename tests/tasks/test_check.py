"""A task that does not keep to the protocol is refused before anything is trained, scored or written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_tasks import CopyTask
from torch import Tensor, nn
from transformers import BatchEncoding

from coto_lab import Classification, Evaluator, Recipe, Training, Variant, fit, fit_many
from coto_lab.tasks import Example
from coto_lab.tasks.check import check_task, fresh_base, measured, try_task

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
    "NaN": (
        lambda values: values | {"loss": values["loss"] / 0 * 0},
        "measure['loss'] of task 'copy' is [nan, nan] for the base",
    ),
    "infinite": (
        lambda values: values | {"bits": values["loss"] / 0},
        "measure['bits'] of task 'copy' is [inf, inf] for the base",
    ),
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


USES: dict[str, Callable[[Any], object]] = {
    "fit": lambda task: fit(task, RECIPE, progress=False),
    "fit_many": lambda task: fit_many(task, [RECIPE, RECIPE], n_jobs=1, progress=False),
    "Evaluator": lambda task: Evaluator(task)([variant()]),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("name", None, "task.name=None: must be a string"),
        ("name", "", "task.name='': must not be empty"),
        ("base", None, "task.base=None: must be a string"),
        ("base", 3, "task.base=3: must be a string"),
        ("base", "", "task.base='': must not be empty"),
        ("target_modules", "q_proj", "task.target_modules='q_proj': must be a tuple of names, such as ('q_proj', 'v_proj')"),
        ("target_modules", None, "task.target_modules=None: must be a tuple of names"),
        ("target_modules", (3,), "task.target_modules=(3,): must be a tuple of names"),
        ("target_modules", (), "task.target_modules=(): must not be empty"),
        ("classes", None, "task.classes=None: must be a tuple of names, such as ('cat', 'dog')"),
        ("classes", "ab", "task.classes='ab': must be a tuple of names"),
        ("size", 5, "task.size=5: must be a method"),
        ("predict", None, "task.predict=None: must be a method"),
        ("size", lambda split: None, ")=None: must be a whole number, at least 0"),
        ("size", lambda split: 2.5, ")=2.5: must be a whole number, at least 0"),
        ("load_base", lambda: None, "load_base of task 'copy' returned a NoneType: return a fresh copy of the base model"),
        ("say", "hello", "task.say='hello': must be a method, or be left out"),
        ("skeleton", "bones", "task.skeleton='bones': must be a method, or be left out"),
        ("reads", "prompt", "task.reads='prompt': must be a method, or be left out"),
        ("modules_to_save", "lm_head", "task.modules_to_save='lm_head': must be a tuple of names, such as ('classifier',)"),
        ("modules_to_save", (3,), "task.modules_to_save=(3,): must be a tuple of names"),
        ("modules_to_save", ("score",), "modules_to_save=('score',), and its base model no module whose name ends with"),
        ("say", lambda *_: None, "say of task 'copy' returned a NoneType for a batch of 2 examples: return a list of"),
        ("say", lambda *_: "ab", "say of task 'copy' returned a str for a batch of 2 examples"),
        ("say", lambda *_: ["a"], "say of task 'copy' returned 1 of str for a batch of 2 examples"),
        ("say", lambda *_: ["a", 1], "say of task 'copy' returned 2 of int, str for a batch of 2 examples"),
        ("show", lambda *_: None, "show of task 'copy' returned a NoneType for 2 indices: return a list of 2 Examples"),
        ("show", lambda *_: "ab", "show of task 'copy' returned a str for 2 indices"),
        ("show", lambda *_: [Example("a")], "show of task 'copy' returned 1 examples for 2 indices"),
        ("show", lambda *_: ["a", "b"], "show of task 'copy' returned a str in its list: return a list of Examples"),
        ("batch", lambda *_: None, "batch of task 'copy' returned a NoneType: return a dict of tensors, each [2, ...]"),
        ("batch", lambda *_: {}, "batch of task 'copy' returned an empty dict: return a dict of tensors"),
        ("batch", lambda *_: {"x": [1, 2]}, "batch of task 'copy' returned {'x': 'list'}: each column must be a tensor"),
        ("batch", lambda *_: {"x": torch.tensor(1)}, "batch of task 'copy' returned {'x': 'no'} examples for 2 indices"),
    ],
)  # fmt: skip
def test_a_member_of_another_kind_is_refused(part: str, value: Any, said: str, use: Callable[[Any], object]) -> None:
    task = CopyTask()
    setattr(task, part, value)
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        use(task)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_class_is_no_task(use: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"task is the class CopyTask itself: give a task of this class, such as CopyTask\("):
        use(CopyTask)


def test_a_batch_may_be_any_mapping() -> None:
    class Tokenised(CopyTask):
        def batch(self, split: str, indices: Any) -> Any:
            return BatchEncoding(super().batch(split, indices))

    assert len(fit(Tokenised(), RECIPE, progress=False).history) == 2


class Kept(CopyTask):
    """It gives out its only model, or a part of it in another whole."""

    def __init__(self, in_parts: bool = False):
        super().__init__()
        self._kept, self._in_parts = super().load_base(), in_parts

    def load_base(self) -> nn.Module:
        if not self._in_parts:
            return self._kept
        whole = super().load_base()
        whole.model.layers[1] = self._kept.model.layers[1]
        return whole


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("second", USES)
@pytest.mark.parametrize("first", USES)
def test_a_base_that_is_in_use_is_not_given_out_again(first: str, second: str, in_parts: bool) -> None:
    task = Kept(in_parts)
    used = USES[first](task)
    with pytest.raises(ValueError, match=r"load_base of task 'copy' returned a model (that carries|whose layers it)"):
        USES[second](task)
    assert used


def test_a_base_that_carries_an_adapter_is_refused() -> None:
    task = Kept()
    adapter = variant().adapter
    adapter.attach(task.load_base())
    with pytest.raises(ValueError, match=r"that carries an adapter, in 'model\.layers\.0\.self_attn\.q_proj': return a fresh"):
        Training(task, RECIPE)


def test_a_base_is_fresh_where_its_earlier_copies_are_in_use_or_gone() -> None:
    task = CopyTask()
    bases = [fresh_base(task) for _ in range(3)]
    assert len({id(base) for base in bases}) == 3


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


def test_a_loss_that_is_not_finite_is_found_where_the_measure_is() -> None:
    class Broken(CopyTask):
        def loss(self, prediction: Tensor, batch: dict[str, Tensor]) -> Tensor:
            return prediction.sum((1, 2)) / 0

        def measure(self, prediction: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: torch.ones(len(prediction)) for name in ("loss", "correct")}

    task = Broken()
    with pytest.raises(ValueError, match=r"^loss of task 'copy' is .*inf"):
        try_task(task, task.load_base(), "train")


def test_indices_come_as_a_tensor_too() -> None:
    class Rows(CopyTask):
        def batch(self, split: str, indices: Sequence[int] | Tensor) -> dict[str, Tensor]:
            rows = {i: i for i in range(self.size(split))}
            return super().batch(split, [rows[i] for i in indices])

    task = Rows()
    with pytest.raises(ValueError, match=r"batch of task 'copy' cannot take its indices as a tensor .*call int\(i\)"):
        try_task(task, task.load_base(), "train")


def test_a_prediction_of_another_length_is_refused() -> None:
    class Flat(CopyTask):
        def predict(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
            return super().predict(model, batch).flatten(0, 1)

        def loss(self, prediction: Tensor, batch: dict[str, Tensor]) -> Tensor:
            return super().loss(prediction.unflatten(0, (len(batch["targets"]), -1)), batch)

    task = Flat()
    with pytest.raises(ValueError, match=r"predict of task 'copy' returned \[\d+, 10\] for a batch of 2 examples"):
        try_task(task, task.load_base(), "train")
