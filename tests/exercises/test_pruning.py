"""The checks of the notebook on pruning let right answers through, and name what is wrong with others."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from coto_lab import Evaluator, Run, load_task, prune
from coto_lab.exercises import pruning
from coto_lab.studies.gallery import load_run

check_pattern, check_lost, check_weights = (
    check.__wrapped__ for check in (pruning.check_pattern, pruning.check_lost, pruning.check_weights)
)

BLOCK, KIND = torch.arange(24) // 3, torch.arange(24) % 3


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator(load_task("digits").every(8))


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {"LoRA": load_run("lora-seed0"), "CoTo": load_run("coto-seed0")}


def test_six_value_maps_beat_the_middle_third(evaluator: Evaluator, runs: dict[str, Run]) -> None:
    assert check_pattern((KIND == 2) & (BLOCK < 6), runs["LoRA"], evaluator) == []


@pytest.mark.parametrize(
    ("mask", "complaint"),
    [
        ([True] * 24, "my_mask is of type list"),
        (torch.ones(24), "my_mask is a tensor of torch.float32"),
        (torch.arange(8) < 2, "my_mask has shape [8]; it should have one place for each of the 24 adapters"),
        (BLOCK == 3, "my_mask keeps 3 adapters; keep six"),
        ((BLOCK == 3) | (BLOCK == 4), "this is the middle third itself"),
        ((KIND == 0) & (BLOCK >= 2), "look for a better one"),
    ],
)
def test_what_is_wrong_with_a_pattern_is_named(
    mask: object, complaint: str, evaluator: Evaluator, runs: dict[str, Run]
) -> None:
    (found,) = check_pattern(mask, runs["LoRA"], evaluator)
    assert complaint in found


@pytest.fixture(scope="module")
def few() -> Evaluator:
    """For the checks that score 17 masks of each method."""
    return Evaluator(load_task("digits").every(36))


@pytest.fixture(scope="module")
def accuracies(few: Evaluator, runs: dict[str, Run]) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """By method: with all blocks, without each block, with each block alone; shares."""
    only = torch.eye(8, dtype=torch.bool)
    masks = {str(i): mask for i, mask in enumerate([torch.ones(8, dtype=torch.bool), *~only, *only])}
    scores = {name: prune(few.task, run, masks, few).accuracy for name, run in runs.items()}
    return {name: (own[0], own[1:9], own[9:]) for name, own in scores.items()}


Answer = Callable[[Tensor, Tensor, Tensor], object]


@pytest.mark.parametrize(
    "answer",
    [
        lambda whole, without, _: 100 * (whole - without),
        lambda whole, without, _: [round(points, 1) for points in (100 * (whole - without)).tolist()],
        lambda whole, without, _: list(100 * (whole - without)),
    ],
    ids=["tensor", "rounded", "list of tensors"],
)
def test_points_lost_pass(answer: Answer, accuracies: dict, few: Evaluator, runs: dict[str, Run]) -> None:
    assert check_lost({name: answer(*own) for name, own in accuracies.items()}, runs, few) == []


LOST: dict[str, Answer] = {
    "these are shares": lambda whole, without, only: whole - without,
    "the sign is wrong": lambda whole, without, only: 100 * (without - whole),
    "these are accuracies: subtract": lambda whole, without, only: 100 * without,
    "these are accuracies, as shares": lambda whole, without, only: without,
    "one block is kept and seven are shut": lambda whole, without, only: 100 * (whole - only),
    "should be 8 numbers": lambda whole, without, only: 100 * (whole - without).max(),
    "is wrong, and it is the number that is furthest off": lambda whole, without, only: torch.full((8,), 3.3),
}


@pytest.mark.parametrize("complaint", LOST)
def test_what_is_wrong_with_the_points_lost_is_named(
    complaint: str, accuracies: dict, few: Evaluator, runs: dict[str, Run]
) -> None:
    found = check_lost({name: LOST[complaint](*own) for name, own in accuracies.items()}, runs, few)
    assert len(found) == 2 and all(complaint in said for said in found)


def test_one_method_is_not_enough(few: Evaluator, runs: dict[str, Run]) -> None:
    (found,) = check_lost({"LoRA": [0] * 8}, runs, few)
    assert "a dictionary with the keys 'LoRA', 'CoTo'" in found


def by_hand(weight: Callable[[float, int, int], float]) -> Callable[[float, int], list[float]]:
    return lambda p, n: [weight(p, n, j) for j in range(n + 1)]


def right(p: float, n: int, j: int) -> float:
    return math.comb(n, j) * p**j * (1 - p) ** (n - j)


def test_weights_pass_as_list_and_as_tensor() -> None:
    assert check_weights(by_hand(right)) == []
    assert check_weights(lambda p, n: torch.tensor(by_hand(right)(p, n))) == []


WEIGHTS: dict[str, Callable[[float, int], object]] = {
    "the binomial coefficient is missing": by_hand(lambda p, n, j: p**j * (1 - p) ** (n - j)),
    "p and 1 - p are swapped": by_hand(lambda p, n, j: right(1 - p, n, j)),
    "the factor (1 - p) ** (L - j) is missing": by_hand(lambda p, n, j: math.comb(n, j) * p**j),
    "the factor p ** j is missing": by_hand(lambda p, n, j: math.comb(n, j) * (1 - p) ** (n - j)),
    "this is the number of masks": by_hand(lambda p, n, j: math.comb(n, j)),
    "should return 9 numbers": lambda p, n: by_hand(right)(p, n)[:-1],
    "is there a return?": lambda p, n: None,
    "furthest off": by_hand(lambda p, n, j: 1 / (n + 1)),
}


@pytest.mark.parametrize("complaint", WEIGHTS)
def test_what_is_wrong_with_the_weights_is_named(complaint: str) -> None:
    (found,) = check_weights(WEIGHTS[complaint])
    assert complaint in found
