"""The exercises of the notebook on a language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from coto_lab.exercises._compare import as_numbers
from coto_lab.exercises._exercise import exercise
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.variant import Variant
from coto_lab.tasks.skills import SKILLS, Skill
from coto_lab.tasks.string_task import StringTask
from coto_lab.training.run import Run

_MOST_KNOWN = 0.05  # a task is new if the base answers at most this share of the prompts correctly


@exercise("This is the exact match.")
def check_exact_match(exact_match: Callable[[Tensor, Tensor], Any]) -> list[str]:
    """Check a function that says which answers are right to the last character.

    Args:
        exact_match: called as ``exact_match(logits, targets)`` with float ``[n, places, characters]`` and int64
            ``[n, places]``, -100 outside the answers; returns n times True or False.
    """
    logits, targets = _made_up()
    found = exact_match(logits.clone(), targets.clone())
    if found is None:
        return ["exact_match returns None: is there a return?"]
    numbers = as_numbers(found, len(targets))
    if numbers is None:
        return [
            f"exact_match should return {len(targets)} values for {len(targets)} examples, True where all of an answer is right"
        ]
    said, shifted, outside = logits.argmax(-1), targets[:, 1:], targets[:, 1:] < 0
    right = said[:, :-1] == shifted
    likely = {
        "": (right | outside).all(-1),
        "logits at a place are about the next character: compare logits[:, :-1] with targets[:, 1:]": (
            (said == targets) | (targets < 0)
        ).all(-1),
        "one right character is not enough: all characters of the answer have to be right": right.any(-1),
        "this is the share of right characters: all of them have to be right": right.sum(-1) / (~outside).sum(-1),
        "places outside the answer count as wrong, too: where targets is -100 there is nothing to get right": right.all(-1),
        "outside the answer nothing can be right: take the mean over the places of the answer, or all": right.double().mean(-1),
        "this is True where an answer is wrong": ~(right | outside).all(-1),
    }  # fmt: skip
    for sentence, values in likely.items():
        if torch.allclose(numbers, values.double(), atol=1e-6):
            return [sentence] if sentence else []
    return ["exact_match is wrong for an example that this check made up: compare it with the hint, step by step"]


def _made_up() -> tuple[Tensor, Tensor]:
    """Logits and targets of six examples with answers at places 4 to 8; character i has the number 10 + i or so.

    The answers are right; wrong in one character; wrong throughout; right, and shorter; wrong in the last character; and right
    if one forgets that logits are about the next character. Outside of the answers, the logits say something else.
    """
    targets = 10 + torch.arange(9) + torch.arange(6)[:, None]
    targets[:, :4], targets[3, 6:] = -100, -100
    said = torch.full(targets.shape, 40)
    for example, places in enumerate(([4, 5, 6, 7, 8], [4, 5, 7, 8], [], [4, 5], [4, 5, 6, 7])):
        right = torch.tensor(places, dtype=torch.int64)
        said[example, right - 1] = targets[example, right]
    said[5, 4:] = targets[5, 4:]
    return torch.nn.functional.one_hot(said, 50).float(), targets


@exercise("These are the places from which the answer comes.")
def check_places(my_places: Any, skill: Skill, length: int = 6) -> list[str]:
    """Check the place of the prompt from which each character of the answer comes.

    Args:
        my_places: the answer, one place for each character of the answer but the end.
        skill: each character of its answers comes from one character of the body.
        length: characters of the body.
    """
    right = _sources(skill, length)
    numbers = as_numbers(my_places, len(right))
    if numbers is None:
        return [f"my_places should be {len(right)} whole numbers, one for each character of the answer before ;"]
    likely = {
        "the sign is place 0, so the body begins at place 1": right - 1,
        "these places count from the end of the body": length + 1 - right,
        "these are the places of the answer itself: where does the model find what it needs for it?": (
            torch.arange(len(right)) + length + 2
        ),
    }  # fmt: skip
    if torch.equal(numbers, right.double()):
        return []
    for sentence, wrong in likely.items():
        if torch.equal(numbers, wrong.double()):
            return [f"my_places: {sentence}"]
    at = int((numbers != right).int().argmax())
    prompt = skill.prompt("abcdefghi"[:length])
    answer = skill.rule("abcdefghi"[:length])
    return [f"my_places[{at}] = {numbers[at]:g} is wrong: {answer[at]!r} is character {at + 1} of the answer to {prompt!r}"]


def _sources(skill: Skill, length: int) -> Tensor:
    """For each character of the answer, the place in the prompt whose change changes it: int64 ``[answer]``."""
    body = "abcdefghi"[:length]
    answer = skill.rule(body)
    changed = [skill.rule(body[:i] + "z" + body[i + 1 :]) for i in range(length)]
    found = [[i + 1 for i in range(length) if changed[i][k] != answer[k]] for k in range(len(answer))]
    if any(len(places) != 1 for places in found):
        raise ValueError(f"skill={skill.name!r}: a character of its answers does not come from one character of the body.")
    return torch.tensor([place for (place,) in found])


@exercise("The base could not do this, and your adapter has begun to learn it.", answers=2)
def check_skill(my_task: Any, my_run: Any) -> list[str]:
    """Check a new skill: the base does not know it, and a run has learned something of it.

    Args:
        my_task: the answer, a `StringTask`.
        my_run: the answer, a run on this task.
    """
    if not isinstance(my_task, StringTask):
        return [f"my_task is of type {type(my_task).__name__}; it should be StringTask(my_skill, train, test)"]
    if not isinstance(my_run, Run):
        return [f"my_run is of type {type(my_run).__name__}; it should be what fit(my_task, ...) returns"]
    if my_run.task != my_task.name:
        return [f"my_run was trained on task {my_run.task!r}, and the name of my_task is {my_task.name!r}"]
    skill = my_task.skill
    if skill.sign in {known.sign for known in SKILLS.values()}:
        return [f"the sign {skill.sign!r} is one that the base has learned: choose one that it has never seen"]
    if len({skill.rule(body) for body in my_task.test}) == 1:
        return [f"the answer to every test body is {skill.rule(my_task.test[0])!r}: let it depend on the body"]
    shut = torch.zeros(len(Evaluator(my_task).sites(my_run.adapter)), dtype=torch.bool)
    scores = Evaluator(my_task)([Variant(my_run.adapter, shut), Variant(my_run.adapter)])
    if (base := scores.accuracy[0].item()) > _MOST_KNOWN:
        return [f"without an adapter the base answers {base:.0%} of the test prompts correctly: the skill is not new to it"]
    before, after = scores.loss.tolist()
    if after >= before:
        return [f"with the adapter the loss is {after:.2f} nats, without it {before:.2f}: train for more steps"]
    return []
