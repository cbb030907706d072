"""The checks find what readers do wrong, and let through what is right."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from torch import Tensor

from coto_lab.exercises import interpolation as exercises
from coto_lab.probes.interpolation import Curve
from coto_lab.studies.gallery import load_run

check_barrier = exercises.check_barrier.__wrapped__  # what they find, before it is printed
check_weights = exercises.check_weights.__wrapped__
check_left_out = exercises.check_left_out.__wrapped__


def curves() -> dict[str, Curve]:
    alphas = torch.linspace(0, 1, 5, dtype=torch.float64)
    bent = torch.tensor([0.3, 0.5, 0.7, 0.5, 0.2], dtype=torch.float64)
    return {"LoRA": Curve(alphas, 1 - bent, bent, "fuse"), "CoTo": Curve(alphas, 1 - bent / 2, bent / 2, "fuse")}


def excess(alphas: Tensor, loss: Tensor) -> Tensor:
    return loss - ((1 - alphas) * loss[0] + alphas * loss[-1])


@pytest.mark.parametrize("as_given", [lambda x: x, lambda x: x.item(), lambda x: x.numpy()])
def test_the_barrier_of_the_solution_passes(as_given: Callable[[Tensor], object]) -> None:
    assert check_barrier(lambda alphas, loss: as_given(excess(alphas, loss).max()), curves()) == []


WRONG_BARRIERS = {
    "highest loss minus the lowest": lambda alphas, loss: loss.max() - loss.min(),
    "above the first run": lambda alphas, loss: loss.max() - loss[0],
    "above the second run": lambda alphas, loss: loss.max() - loss[-1],
    "above the mean of the ends": lambda alphas, loss: loss.max() - (loss[0] + loss[-1]) / 2,
    "in the middle": lambda alphas, loss: excess(alphas, loss)[len(loss) // 2],
    "sum of the excesses": lambda alphas, loss: excess(alphas, loss).sum(),
    "mean of the excesses": lambda alphas, loss: excess(alphas, loss).mean(),
    "ends of the line are swapped": lambda alphas, loss: (loss - (alphas * loss[0] + (1 - alphas) * loss[-1])).max(),
    "the sign is wrong": lambda alphas, loss: (-excess(alphas, loss)).max(),
    "subtract the straight line": lambda alphas, loss: 0.0,
    "a tensor of shape [5]; it should return one number": excess,
    "a NoneType; it should return one number": lambda alphas, loss: None,
}


def test_a_barrier_that_fits_one_number_of_mixtures_is_told_which_call_fails(capsys: pytest.CaptureFixture[str]) -> None:
    lines = {name: Curve(*(torch.linspace(0, 1, 11) for _ in range(3)), "fuse") for name in ("LoRA", "CoTo")}
    exercises.check_barrier(lambda alphas, loss: (loss - (loss[0] + loss[-1]) / 2)[5], lines | curves())
    assert "(alphas: tensor [5], loss: tensor [5]) raises IndexError" in capsys.readouterr().out


def test_a_barrier_in_float32_passes() -> None:
    assert check_barrier(lambda alphas, loss: excess(alphas.float(), loss.float()).max(), curves()) == []


@pytest.mark.parametrize("complaint", WRONG_BARRIERS)
def test_a_wrong_barrier_is_named(complaint: str) -> None:
    (found,) = check_barrier(WRONG_BARRIERS[complaint], curves())
    assert complaint in found


WRONG_WEIGHTS = {
    "the weights of the factors": [1 / 3, 2 / 3, 0],
    "a 1:1 fusion": [1 / 4, 1 / 4, 1 / 4],
    "the runs are swapped": [4 / 9, 1 / 9, 2 / 9],
    "twice as large as it should be": [1 / 9, 4 / 9, 4 / 9],
    "take the product of the factors": [1 / 9, 4 / 9, 4 / 81],
    "a product of two weights": [1 / 3, 2 / 3, 2 / 9],
    "my_weights[2] = 0.7 is wrong": [0.1, 0.2, 0.7],
    "three numbers": [1 / 9, 4 / 9],
}


def test_the_weights_of_the_parts() -> None:
    pair = [load_run("lora-seed0"), load_run("lora-seed1")]
    for answer in ((1 / 9, 4 / 9, 2 / 9), [0.111, 0.444, 0.222], [0.11, 0.44, 0.22]):
        assert check_weights(answer, pair) == []
    assert check_weights([0.1, 0.4, 0.2], pair) == ["my_weights is right so far: give one more decimal"]
    for complaint, answer in WRONG_WEIGHTS.items():
        (found,) = check_weights(answer, pair)
        assert complaint in found, complaint
    assert "three numbers" in check_weights(1 / 9, pair)[0]


def test_the_means_without_a_seed() -> None:
    pairs = list(combinations(range(5), 2))
    differences = [float(i**2 % 7) for i in range(10)]

    def means(kept: Callable[[int, tuple[int, int]], bool]) -> list[float]:
        chosen = [[d for d, pair in zip(differences, pairs, strict=True) if kept(k, pair)] for k in range(5)]
        return [sum(own) / len(own) for own in chosen]

    right = means(lambda k, pair: k not in pair)
    assert check_left_out(right, differences, pairs) == check_left_out(torch.tensor(right), differences, pairs) == []
    assert check_left_out([round(mean, 1) for mean in right], differences, pairs) == []
    wrong = {
        "those that it is not in": means(lambda k, pair: k in pair),
        "both seeds of a pair": means(lambda k, pair: k != pair[0]),
        "one per pair": differences,
        "5 numbers, one for each seed": right[:4],
        "furthest off": [mean + 1 for mean in right],
    }
    for complaint, answer in wrong.items():
        (found,) = check_left_out(answer, differences, pairs)
        assert complaint in found, complaint
