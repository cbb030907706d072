"""The checks of the tour find what readers do wrong, and let through what is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch

from coto_lab import Evaluator, Linear, Recipe, Run, Task, Training, interpolate, prune
from coto_lab.exercises import tour
from coto_lab.gating.coto import CoTo
from coto_lab.probes.interpolation import Curve
from coto_lab.studies.gallery import load_run

check_share, check_ensemble, check_first_block = (
    check.__wrapped__ for check in (tour.check_share, tour.check_ensemble, tour.check_first_block)
)


# --- The share of the steps ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coto(task: Task) -> CoTo:
    return Training(task, Recipe(schedule=Linear(), steps=800)).coto


SHARES: dict[str, Callable[[torch.Tensor], object]] = {
    "a percentage": lambda masks: 100 * masks.double().mean().item(),
    "does not train": lambda masks: 1 - masks.double().mean(),
    "the number of open blocks": lambda masks: masks.sum(1).double().mean(),
    "the number of steps": lambda masks: masks.sum(0).double().mean(),
    "the area under p(t)": lambda masks: 0.75 * 0.5 + 0.25,
    "not one number": lambda masks: masks.double().mean(0),
    "my_share = 0.1 is not right": lambda masks: 0.1,
}


@pytest.mark.parametrize("complaint", SHARES)
def test_a_wrong_share_is_named(coto: CoTo, complaint: str) -> None:
    (found,) = check_share(SHARES[complaint](coto.masks()), coto)
    assert complaint in found


@pytest.mark.parametrize("answer", [lambda share: share, torch.Tensor.item, lambda share: 0.637, lambda share: 0.638])
def test_the_right_share_passes(coto: CoTo, answer: Callable[[torch.Tensor], object]) -> None:
    assert check_share(answer(coto.masks().double().mean()), coto) == []


@pytest.mark.parametrize("answer", [0.6, 0.64])
def test_a_share_with_too_few_decimals_is_right_so_far(coto: CoTo, answer: float) -> None:
    assert check_share(answer, coto) == ["my_share is right so far: give one more decimal"]


# --- The ensemble ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluator(task: Task) -> Evaluator:
    return Evaluator(task.every(16))


@pytest.fixture(scope="module")
def runs() -> Mapping[str, Run]:
    return {"LoRA": load_run("lora-seed0"), "CoTo": load_run("coto-seed0")}


@pytest.fixture(scope="module")
def draw(evaluator: Evaluator) -> Callable[..., Curve]:
    """A curve between two runs of the gallery, by their names."""

    def drawn(first: str, second: str, **settings: object) -> Curve:
        return interpolate(evaluator.task, load_run(first), load_run(second), alphas=3, evaluator=evaluator, **settings)

    return drawn


@pytest.fixture(scope="module")
def fused(draw: Callable[..., Curve]) -> Mapping[str, Curve]:
    return {name: draw(f"{name.lower()}-seed0", f"{name.lower()}-seed1") for name in ("LoRA", "CoTo")}


def test_the_ensemble_passes(draw: Callable[..., Curve], fused: Mapping[str, Curve]) -> None:
    assert check_ensemble(draw("lora-seed0", "lora-seed1", how="ensemble"), fused) == []


@pytest.mark.parametrize(
    ("first", "second", "how", "complaint"),
    [
        ("lora-seed0", "lora-seed1", "fuse", "averages the factors"),
        ("lora-seed1", "lora-seed0", "ensemble", "swapped"),
        ("coto-seed0", "coto-seed1", "ensemble", "the runs of CoTo"),
        ("lora-seed0", "lora-seed2", "ensemble", "its ends are not those of curves['LoRA']"),
    ],
)
def test_a_wrong_curve_is_named(
    draw: Callable[..., Curve], fused: Mapping[str, Curve], first: str, second: str, how: str, complaint: str
) -> None:
    (found,) = check_ensemble(draw(first, second, how=how), fused)
    assert complaint in found


def test_an_ensemble_is_a_curve(fused: Mapping[str, Curve]) -> None:
    assert check_ensemble(0.9, fused) == ["my_curve is of type float; it should be what interpolate(...) returns"]


# --- The first block alone -------------------------------------------------------------------------------------------------

_BLOCK = torch.arange(8)


@pytest.mark.parametrize(
    ("mask", "complaint"),
    [
        (_BLOCK == 0, ""),
        (_BLOCK != 0, "the first block lost its adapter"),
        (_BLOCK == 7, "the last block"),
        (_BLOCK == 1, "the second block"),
        (_BLOCK >= 0, "all adapters are kept"),
        (_BLOCK % 2 == 0, "every other block"),
    ],
)
def test_what_is_kept_is_named(runs: Mapping[str, Run], evaluator: Evaluator, mask: torch.Tensor, complaint: str) -> None:
    left = {name: prune(evaluator.task, run, {"mine": mask}, evaluator).accuracy for name, run in runs.items()}
    found = check_first_block(left, runs, evaluator)
    assert len(found) == (2 if complaint else 0) and all(complaint in line for line in found)


def test_what_is_no_accuracy_is_named(runs: Mapping[str, Run], evaluator: Evaluator) -> None:
    assert check_first_block(0.8, runs, evaluator) == ["my_left should be a dictionary with the keys 'LoRA', 'CoTo'"]
    right, other = (prune(evaluator.task, run, {"mine": _BLOCK == 0}, evaluator).accuracy.item() for run in runs.values())
    assert check_first_block({"LoRA": round(right, 3), "CoTo": round(other, 3)}, runs, evaluator) == []
    percent, table = check_first_block({"LoRA": 100 * right, "CoTo": torch.ones(8)}, runs, evaluator)
    assert "my_left['LoRA']" in percent and "a percentage" in percent
    assert "my_left['CoTo'] is not one number" in table
