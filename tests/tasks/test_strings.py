from __future__ import annotations

import pytest
import torch

from coto_lab import load_task
from coto_lab.tasks import StringTask
from coto_lab.tasks.characters import NEW_SIGNS
from coto_lab.tasks.skills import is_held_out
from coto_lab.tasks.strings import TASKS

BY_HAND = {
    "rotate-back": ("abcd", "dabc"),
    "swap-pairs": ("abcde", "badce"),
    "even-places": ("abcde", "bd"),
    "predecessor": ("a1z0", "z0y9"),
    "three-later": ("az09", "dc32"),
    "reverse-successor": ("az09", "01ab"),
    "sort-descending": ("b9a0z", "zba90"),
    "sort-successor": ("b9a0z", "10bca"),
    "second-largest": ("a9mb", "b"),
    "larger-number": ("17,25", "25"),
    "sum-reversed": ("17+25", "24"),
    "sum-plus-one": ("17+25", "43"),
}


@pytest.fixture(scope="module", params=TASKS)
def task(request: pytest.FixtureRequest) -> StringTask:
    return load_task(f"strings/{request.param}")


def skill_name(task: StringTask) -> str:
    return task.name.removeprefix("strings/")


def test_the_answer_is_as_by_hand(task: StringTask) -> None:
    body, answer = BY_HAND[skill_name(task)]
    assert task.skill.rule(body) == answer


def test_training_and_test_bodies_do_not_overlap_and_tests_are_new_to_the_base(task: StringTask) -> None:
    assert len(set(task.train)) == task.size("train") <= 1024 and len(set(task.test)) == task.size("test") >= 300
    assert not set(task.train) & set(task.test)
    assert all(map(is_held_out, task.test)) and not any(map(is_held_out, task.train))


def test_it_is_the_same_every_time(task: StringTask) -> None:
    again = load_task(task.name)
    assert (again.train, again.test, again.base) == (task.train, task.test, task.base)


def test_the_base_cannot_do_it_yet(task: StringTask) -> None:
    batch = task.batch("test", range(task.size("test")))
    with torch.no_grad():
        prediction = task.predict(task.load_base().eval(), batch)
    assert task.measure(prediction, batch)["correct"].double().mean() < 0.05


def test_every_task_has_a_sign_that_the_base_never_saw() -> None:
    signs = [skill.sign for skill in TASKS.values()]
    assert len(set(signs)) == len(signs) >= 8 and set(signs) <= set(NEW_SIGNS)


@pytest.mark.parametrize("name", ["strings/nothing", "strings/", "rotate-back", "strings", None, 7])
def test_an_unknown_task_is_refused_with_the_list_of_those_there_are(name: object) -> None:
    with pytest.raises(
        ValueError, match=r"no such task; there is 'digits', 'docstrings', .*'strings/rotate-back', .*descending'"
    ):
        load_task(name)
