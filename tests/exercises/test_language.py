"""The checks of the notebook on a language model let right answers through, and name what is wrong with others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from coto_lab import Recipe, Run, fit
from coto_lab.exercises import language
from coto_lab.tasks import StringTask
from coto_lab.tasks.skills import SKILLS, Skill, text
from coto_lab.tasks.strings import TASKS

check_exact_match, check_places, check_skill = (
    check.__wrapped__ for check in (language.check_exact_match, language.check_places, language.check_skill)
)


# --- Exact match -----------------------------------------------------------------------------------------------------------


def exact_match(logits: Tensor, targets: Tensor) -> Tensor:
    said, targets = logits[:, :-1].argmax(-1), targets[:, 1:]
    return ((said == targets) | (targets < 0)).all(-1)


@pytest.mark.parametrize("as_given", [lambda found: found, Tensor.tolist, lambda found: found.int().numpy()])
def test_exact_match_passes(as_given: Callable[[Tensor], object]) -> None:
    assert check_exact_match(lambda logits, targets: as_given(exact_match(logits, targets))) == []


def characters(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Which characters are right, and which places are in no answer."""
    return logits[:, :-1].argmax(-1) == targets[:, 1:], targets[:, 1:] < 0


MATCHES: dict[str, Callable[[Tensor, Tensor], object]] = {
    "compare logits[:, :-1] with targets[:, 1:]": lambda x, t: ((x.argmax(-1) == t) | (t < 0)).all(-1),
    "one right character is not enough": lambda x, t: characters(x, t)[0].any(-1),
    "the share of right characters": lambda x, t: characters(x, t)[0].sum(-1) / (t[:, 1:] >= 0).sum(-1),
    "where targets is -100 there is nothing to get right": lambda x, t: characters(x, t)[0].all(-1),
    "take the mean over the places of the answer": lambda x, t: characters(x, t)[0].double().mean(-1),
    "this is True where an answer is wrong": lambda x, t: ~exact_match(x, t),
    "is there a return?": lambda x, t: None,
    "should return 6 values": lambda x, t: exact_match(x, t).double().mean(),
    "wrong for an example that this check made up": lambda x, t: torch.ones(len(t)),
}


@pytest.mark.parametrize("complaint", MATCHES)
def test_a_wrong_match_is_named(complaint: str) -> None:
    (found,) = check_exact_match(MATCHES[complaint])
    assert complaint in found


# --- Places ----------------------------------------------------------------------------------------------------------------

FROM_THE_END = TASKS["reverse-successor"]


@pytest.mark.parametrize(
    ("name", "places"),
    [("reverse-successor", [6, 5, 4, 3, 2, 1]), ("rotate-back", [6, 1, 2, 3, 4, 5]), ("even-places", [2, 4, 6])],
)
def test_the_right_places_pass(name: str, places: list[int]) -> None:
    assert check_places(places, TASKS[name]) == [] and check_places(torch.tensor(places), TASKS[name]) == []


@pytest.mark.parametrize(
    ("places", "complaint"),
    [
        ([5, 4, 3, 2, 1, 0], "the sign is place 0"),
        ([1, 2, 3, 4, 5, 6], "count from the end"),
        ([8, 9, 10, 11, 12, 13], "the places of the answer itself"),
        ([6, 5, 4, 3, 1, 2], "my_places[4] = 1 is wrong: 'c' is character 5 of the answer to '*abcdef='"),
        ([6, 5, 4], "should be 6 whole numbers"),
        (6, "should be 6 whole numbers"),
    ],
)
def test_wrong_places_are_named(places: object, complaint: str) -> None:
    (found,) = check_places(places, FROM_THE_END)
    assert complaint in found


def test_a_skill_without_places_is_refused() -> None:
    with pytest.raises(ValueError, match="does not come from one character of the body"):
        check_places([1] * 6, TASKS["sort-descending"])


# --- A skill of the reader's own -------------------------------------------------------------------------------------------

BODIES = [f"{a}{b}{c}x" for a in "abcdefgh" for b in "uvw" for c in "1234"]
ENDS = Skill("ends", "#", "the first and the last character", lambda body: body[0] + body[-1], text)


def task_of(skill: Skill) -> StringTask:
    return StringTask(skill, BODIES[::2], BODIES[1::2], skill.name)


@pytest.fixture(scope="module")
def mine() -> tuple[StringTask, Run]:
    task = task_of(ENDS)
    return task, fit(task, Recipe(steps=12), progress=False)


def test_a_new_skill_passes(mine: tuple[StringTask, Run]) -> None:
    assert check_skill(*mine) == []


def test_what_is_wrong_with_a_skill_is_named(mine: tuple[StringTask, Run]) -> None:
    task, run = mine
    known = task_of(replace(ENDS, sign="R", name="ends"))
    same = task_of(replace(ENDS, rule=lambda body: "x", name="ends"))
    reverse = task_of(replace(SKILLS["copy"], name="ends"))
    for given, complaint in (
        ((ENDS, run), "my_task is of type Skill"),
        ((task, run.adapter), "my_run is of type Adapter"),
        ((task_of(replace(ENDS, name="other")), run), "my_run was trained on task 'ends', and the name of my_task is 'other'"),
        ((known, run), "the sign 'R' is one that the base has learned"),
        ((reverse, run), "the sign 'C' is one that the base has learned"),
        ((same, run), "the answer to every test body is 'x'"),
    ):
        (found,) = check_skill(*given)
        assert complaint in found


def test_a_skill_that_was_not_learned_is_named(mine: tuple[StringTask, Run]) -> None:
    task, run = mine
    tensors = {name: torch.zeros_like(tensor) for name, tensor in run.adapter.tensors.items()}
    (found,) = check_skill(task, replace(run, adapter=replace(run.adapter, tensors=tensors)))
    assert "train for more steps" in found
