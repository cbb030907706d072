"""The checks of the notebook on a model of one's own let right answers through, and name what is wrong with others."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from tiny_tasks import CopyTask
from torch import nn

from coto_lab import Recipe
from coto_lab.exercises import gpu
from coto_lab.probes.estimate import Estimate, estimate

check_largest_batch, check_own_task = (check.__wrapped__ for check in (gpu.check_largest_batch, gpu.check_own_task))


def largest_batch(fixed: float, activations: float, batch_size: int, room: float) -> int:
    return max(0, math.floor((room - fixed) * batch_size / activations))


@pytest.mark.parametrize("as_given", [int, float, torch.tensor])
def test_the_largest_batch_passes(as_given: Callable[[int], object]) -> None:
    assert check_largest_batch(lambda *given: as_given(largest_batch(*given))) == []


BATCHES: dict[str, Callable[[float, float, int, float], object]] = {
    "is there a return?": lambda f, a, n, room: None,
    "should return one number": lambda f, a, n, room: "many",
    "subtract fixed first": lambda f, a, n, room: int(room / a * n),
    "divide by the activations of one": lambda f, a, n, room: int((room - f) / a),
    "round down": lambda f, a, n, room: int((room - f) / a * n) + 1,
    "whole number": lambda f, a, n, room: (room - f) / a * n,
    "there is no batch of less than 0 examples": lambda f, a, n, room: math.floor((room - f) / a * n),
    "15 examples fit": lambda f, a, n, room: 3,
}


@pytest.mark.parametrize("complaint", BATCHES)
def test_a_wrong_batch_is_named(complaint: str) -> None:
    (found,) = check_largest_batch(BATCHES[complaint])
    assert complaint in found


class Own(CopyTask):
    """With a skeleton, as the tasks of the hub."""

    name = "mine"

    def skeleton(self) -> nn.Module:
        with torch.device("meta"):
            return self.load_base()


@pytest.fixture(scope="module")
def estimated() -> Estimate:
    return estimate(Own(), Recipe(r=2, steps=4, batch_size=2), seconds=0.01)


def test_an_own_task_passes(estimated: Estimate) -> None:
    assert check_own_task(Own(), estimated, "theirs") == []


def test_what_is_wrong_with_an_own_task_is_named(estimated: Estimate) -> None:
    class Other(Own):
        name = "other"

    wrong = {
        "is no Task": ("a task", estimated, "theirs"),
        "give name='...'": (Own(), estimated, "mine"),
        "has no skeleton": (CopyTask(), estimated, "theirs"),
        "it should be what estimate(my_task, recipe) returns": (Own(), 3, "theirs"),
        "my_estimate is of task 'mine', and the name of my_task is 'other'": (Other(), estimated, "theirs"),
    }
    for complaint, given in wrong.items():
        (found,) = check_own_task(*given)
        assert complaint in found
