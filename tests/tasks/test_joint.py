"""Several tasks as one: their examples in order, and their scores as by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from merging_cases import lora
from tiny_tasks import CopyTask, SpeakingTask, headed_task

from coto_lab import Classification, Evaluator, Linear, Recipe, Variant, fit, load_task
from coto_lab.tasks import Joint, Part, StringTask
from coto_lab.tasks.check import check_task, try_task
from coto_lab.tasks.part import Chosen
from coto_lab.tasks.task import has_outputs, say_of

PADDING = {"input_ids": 8, "attention_mask": 0, "targets": -100}


@pytest.fixture(scope="module")
def three(tiny_task: Classification) -> list[Classification]:
    """Tasks with 30, 45 and 45 test examples on one base, of which one has other images and one fewer of them."""
    darker = replace(tiny_task, name="darker", test=tiny_task.train)
    return [darker, tiny_task, replace(tiny_task, name="reversed", test=tiny_task.test.select(range(44, -1, -1)))]


def test_the_examples_are_those_of_the_first_task_first(three: list[Classification]) -> None:
    joint = Joint(three, "all")
    assert (joint.size("train"), joint.size("test")) == (90, 120)
    assert joint.places("test") == [range(30), range(30, 75), range(75, 120)]
    assert (joint.name, joint.base, joint.classes, joint.target_modules) == (
        "all", three[0].base, three[0].classes, three[0].target_modules,
    )  # fmt: skip
    whole = joint.batch("test", range(120))
    for task, own in zip(three, joint.places("test"), strict=True):
        expected = task.batch("test", range(task.size("test")))
        assert all(torch.equal(whole[name][own.start : own.stop], column) for name, column in expected.items())
    check_task(joint)
    try_task(joint, joint.load_base(), "test")


@pytest.mark.parametrize("kind", [list, tuple, torch.tensor])
def test_a_batch_of_mixed_tasks_is_in_the_order_that_was_asked_for(three: list[Classification], kind: type) -> None:
    joint = Joint(three, "all")
    wanted = [80, 3, 119, 30, 74, 75, 0, 29, 3]
    batch, whole = joint.batch("test", kind(wanted)), joint.batch("test", range(120))
    assert all(torch.equal(batch[name], column[wanted]) for name, column in whole.items())
    shown = joint.show("test", kind(wanted))
    assert [example.answer for example in shown] == [joint.classes[label] for label in batch["labels"].tolist()]
    assert all(torch.equal(e.image, image) for e, image in zip(shown, batch["pixel_values"], strict=True))  # type: ignore[arg-type]
    assert joint.show("test", []) == []


def test_scores_are_those_of_the_tasks(three: list[Classification]) -> None:
    adapters = [lora(seed, model=three[0].load_base()) for seed in (0, 1)]
    variants = [Variant(adapter) for adapter in adapters]
    joint = Evaluator(Joint(three, "all"))(variants)
    apart = [Evaluator(task)(variants) for task in three]
    assert joint.values["loss"].shape == (2, 120)
    for name in ("loss", "correct"):
        expected = torch.cat([scores.values[name] for scores in apart], dim=1)
        torch.testing.assert_close(joint.values[name], expected, rtol=1e-4, atol=1e-5)
    sizes = torch.tensor([30.0, 45, 45], dtype=torch.float64)
    means = torch.stack([scores.values["correct"].double().mean(1) for scores in apart])
    torch.testing.assert_close(joint.values["correct"].double().mean(1), (sizes[:, None] * means).sum(0) / 120)


def test_it_trains_as_any_task(three: list[Classification]) -> None:
    joint = Joint(three, "all")
    run = fit(joint, Recipe(r=2, steps=20, batch_size=8, lr=0.05, schedule=Linear()), progress=False)
    assert run.task == "all" and run.history.loss[-5:].mean() < run.history.loss[:5].mean()


def test_shorter_columns_are_filled_up_as_told() -> None:
    tasks = [CopyTask(test=6), CopyTask(test=3)]
    joint = Joint(tasks, "copies", PADDING)
    lengths = [task.batch("test", [i])["input_ids"].shape[1] for task in tasks for i in range(task.size("test"))]
    assert len(set(lengths)) > 1
    mixed, own = joint.batch("test", range(9)), [task.batch("test", range(task.size("test"))) for task in tasks]
    width = max(batch["input_ids"].shape[1] for batch in own)
    for name, filler in PADDING.items():
        assert mixed[name].shape == (9, width)
        for batch, places in zip(own, joint.places("test"), strict=True):
            length = batch[name].shape[1]
            rows = mixed[name][places.start : places.stop]
            assert torch.equal(rows[:, :length], batch[name]) and (rows[:, length:] == filler).all()


@pytest.fixture(scope="module")
def texts() -> list[StringTask]:
    return [load_task(f"strings/{name}") for name in ("second-largest", "larger-number", "reverse-successor")]


def test_string_tasks_of_different_lengths_score_as_by_themselves(texts: list[StringTask]) -> None:
    from coto_lab.studies.task_sets import TEXTS

    parts = [Chosen(task, range(5)) for task in texts]
    joint = Joint(parts, "texts", TEXTS.padding)
    own = [task.batch("test", range(5)) for task in parts]
    assert len({batch["input_ids"].shape[1] for batch in own}) > 1
    model, mixed = joint.load_base().eval(), joint.batch("test", range(15))
    with torch.no_grad():
        together = joint.measure(joint.predict(model, mixed), mixed)
        apart = [task.measure(task.predict(model, batch), batch) for task, batch in zip(parts, own, strict=True)]
        assert joint.say(joint.predict(model, mixed), mixed) == [
            text for task, batch in zip(parts, own, strict=True) for text in task.say(task.predict(model, batch), batch)
        ]
    assert together.keys() == apart[0].keys()
    for name, values in together.items():
        torch.testing.assert_close(values, torch.cat([own[name] for own in apart]), rtol=1e-4, atol=1e-5)


def test_without_padding_different_lengths_are_refused(texts: list[StringTask]) -> None:
    joint = Joint(texts, "texts")
    with pytest.raises(ValueError, match="column 'input_ids' has different lengths in the tasks: padding must say what fills"):
        joint.batch("test", [0, joint.size("test") - 1, texts[0].size("test")])


def test_parts_and_joint_tasks_can_be_joined(three: list[Classification]) -> None:
    inner = Joint([Part(three[0], 2), three[1].every(3)], "inner")
    outer = Joint([inner, Joint([three[2]], "one")], "outer")
    assert outer.size("test") == 15 + 15 + 45 and Joint([Part(three[0], 2), three[1]], "mixed").size("test") == 60
    batch = outer.batch("test", [14, 15, 30])
    for place, (task, index) in enumerate([(three[0], 28), (three[1], 0), (three[2], 0)]):
        assert torch.equal(batch["pixel_values"][place], task.batch("test", [index])["pixel_values"][0])
    assert outer.every(5).size("test") == 15


def test_it_speaks_where_its_tasks_do() -> None:
    assert say_of(Joint([SpeakingTask(), SpeakingTask()], "speaking", PADDING)) is not None
    silent = Joint([CopyTask(), CopyTask()], "silent", PADDING)
    assert not hasattr(silent, "say") and not hasattr(silent, "reads") and not has_outputs(silent)


@pytest.mark.parametrize("places", [[120], [-1], [0, 500], torch.tensor([3, 120])], ids=str)
def test_places_that_there_are_not_are_refused(three: list[Classification], places: list[int]) -> None:
    joint = Joint(three, "all")
    for use in (joint.batch, joint.show):
        with pytest.raises(IndexError, match=r"indices has (120|-1|500): the test split of 'all' has places from 0 to 119"):
            use("test", places)  # type: ignore[operator]
    with pytest.raises(ValueError, match="indices is empty: a batch has at least one example"):
        joint.batch("test", [])
    with pytest.raises(ValueError, match="split='validation': must be 'test' or 'train'"):
        joint.batch("validation", [0])


def test_columns_that_differ_are_refused(three: list[Classification]) -> None:
    other = replace(three[0], train=three[0].train.add_column("weight", list(range(30))).with_format("torch"))
    with pytest.raises(
        ValueError, match=r"different columns: \['pixel_values', 'labels'\] and \['pixel_values', 'labels', 'wei"
    ):
        Joint([three[1], other], "odd").batch("train", [0, 40])


def test_tasks_that_do_not_fit_together_are_refused(three: list[Classification]) -> None:
    first = three[1]

    class Writing(CopyTask):
        generates = True

    class OtherBase(CopyTask):
        base = "another"

    headed = headed_task()
    for tasks, said in (
        ([first, replace(first, name="b", base="other")], "tasks 'tiny' and 'b' differ in base: 'tiny base' and 'other'"),
        ([first, replace(first, name="b", classes=("x", "y", "z"))], r"differ in classes: \('a', 'b', 'c'\) and \('x', "),
        ([first, replace(first, name="b", target_modules=("q_proj",))], "differ in target_modules: .*Only tasks on one base"),
        ([CopyTask(), SpeakingTask()], "are of the kinds CopyTask and SpeakingTask"),
        ([CopyTask(), OtherBase()], "differ in base"),
        ([Writing()], "task 'copy' has new layers or writes its answers: such tasks cannot be joined"),
        ([headed, headed], "has new layers or writes its answers"),
        ([], "tasks is empty: give at least one"),
    ):
        with pytest.raises(ValueError, match=said):
            Joint(tasks, "all", PADDING)
    for wrong, said in (
        (first, "tasks is a Classification: give a list of tasks"),
        ("digits", "tasks is a str: give a list of tasks"),
        ([first, "digits"], r"task \(str\) is no Task: it lacks"),
        ([Classification], "task is the class Classification itself"),
    ):
        with pytest.raises(TypeError, match=said):
            Joint(wrong, "all")  # type: ignore[arg-type]
