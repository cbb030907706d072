"""Exercises of reasoning-gym as tasks."""

from __future__ import annotations

import sys

import pytest
import reasoning_gym
import torch
from tiny_hub_models import save_causal

from coto_lab import Evaluator, Recipe, Variant, fit
from coto_lab.tasks.hub.generated import GeneratedAnswers
from coto_lab.tasks.hub.reasoning import reasoning_gym_task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> GeneratedAnswers:
    return reasoning_gym_task(
        "chain_sum", save_causal(tmp_path_factory.mktemp("llama"), layers=2), train=30, test=10, seed=3,
        settings={"max_terms": 2, "max_digits": 1}, max_new_tokens=4,
    )  # fmt: skip


def test_examples_are_those_of_the_package_and_none_is_in_both_splits(task: GeneratedAnswers) -> None:
    made = reasoning_gym.create_dataset("chain_sum", size=40, seed=3, max_terms=2, max_digits=1)
    train = task.show("train", range(task.size("train")))
    assert [(example.text, example.answer) for example in train] == [
        (made[i]["question"], made[i]["answer"]) for i in range(30)
    ]
    asked = {example.text for example in train}
    left = [made[i]["question"] for i in range(30, 40) if made[i]["question"] not in asked]
    assert [example.text for example in task.show("test", range(task.size("test")))] == left
    assert 0 < len(left) < 10, "so small an exercise repeats itself"
    assert task.name == "reasoning-gym/chain_sum"


def test_scores_are_those_of_the_package(task: GeneratedAnswers) -> None:
    batch = task.batch("test", [0, 1])
    right = [example.answer for example in task.show("test", [0, 1])]
    written = torch.full((2, 5), float(task.tokenizer.eos_token_id))
    for row, text in enumerate((f" {right[0]}\n", f"{right[1]}0")):
        ids = task.tokenizer.encode(text)
        written[row, 1 : 1 + len(ids)] = torch.tensor(ids)
    partly = len(right[1]) / len(f"{right[1]}0")  # what the package gives for a right answer with more around it
    assert task.measure(written, batch)["correct"].tolist() == [1, partly]
    run = fit(task, Recipe(steps=2, batch_size=4), progress=False)
    assert Evaluator(task)([Variant(run.adapter)]).accuracy.item() <= 1


@pytest.mark.parametrize(
    ("exercise", "settings", "message"),
    [
        ("no such", {}, r"reasoning-gym has no exercise='no such' with settings=\{\}: .*not registered\."),
        ("chain_sum", {"foo": 1}, r"no exercise='chain_sum' with settings=\{'foo': 1\}: .*unexpected keyword argument 'foo'\."),
        ("chain_sum", {"min_terms": -1}, r"with settings=\{'min_terms': -1\}: min_terms must be positive\."),
    ],
)
def test_an_exercise_that_does_not_exist(exercise: str, settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reasoning_gym_task(exercise, "no model", settings=settings)


def test_numbers_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"train=0: must be a whole number, at least 1\."):
        reasoning_gym_task("chain_sum", "no model", train=0)
    tiny = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    with pytest.raises(
        ValueError, match=r"exercise='chain_sum': all 2 test questions are among those to train on\. Lower train"
    ):
        reasoning_gym_task("chain_sum", "no model", train=2000, test=2, settings=tiny)


def test_an_exercise_without_one_right_answer() -> None:
    with pytest.raises(ValueError, match=r"exercise='boxnet' has examples without one right answer, such as number 0"):
        reasoning_gym_task("boxnet", "no model", train=2, test=1)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(ImportError, match=r"this task needs the package reasoning-gym: `pip install reasoning-gym`, or"):
        reasoning_gym_task("chain_sum", "no model")
