"""The checks of the notebook on schedules find what readers do wrong, and let through what is right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from coto_lab import Constant, Exponential, Linear
from coto_lab.exercises import schedules
from coto_lab.gating.coto import expected_open, probabilities
from coto_lab.gating.schedules import Schedule

check_linear, check_draw, check_steps, check_half = (
    check.__wrapped__ for check in (schedules.check_linear, schedules.check_draw, schedules.check_steps, schedules.check_half)
)


# --- A linear ramp ---------------------------------------------------------------------------------------------------------


def ramp(rises: Callable[..., float], stays: bool = True, asks_first: bool = True) -> Callable[..., float]:
    """``rises(progress, start, end, ramp)`` until the ramp is over."""

    def p(progress: float, start: float = 0.0, end: float = 1.0, ramp: float = 0.75) -> float:
        if stays and (progress >= ramp if asks_first else progress > ramp):
            return end
        return rises(progress, start, end, ramp)

    return p


def right(x: float, start: float, end: float, ramp: float) -> float:
    return start + (end - start) * x / ramp


def test_a_right_ramp_passes() -> None:
    assert check_linear(ramp(right)) == []
    assert check_linear(lambda x, **settings: torch.tensor(Linear(**settings)(x))) == []  # float32
    assert check_linear(lambda x, start=0.0, end=1.0, ramp=0.75: np.float64(Linear(start, end, ramp)(x))) == []


RAMPS = {
    "it rises over the whole training": lambda x, start=0.0, end=1.0, ramp=0.75: start + (end - start) * x,
    "start and end have no effect": lambda x, start=0.0, end=1.0, ramp=0.75: Linear(ramp=ramp)(x),
    "does not begin at start": ramp(lambda x, start, end, ramp: (end - start) * x / ramp),
    "it jumps at the end": ramp(lambda x, start, end, ramp: start + end * x / ramp),
    "with ramp=0 it divides by 0": ramp(right, asks_first=False),
    "my_linear(1) is 1.333; it should be 1: from ramp on, p stays at end": ramp(right, stays=False),
    "my_linear(0.25) is None; it should be 0.3333": ramp(lambda x, start, end, ramp: None if x else start),
}


@pytest.mark.parametrize("complaint", RAMPS)
def test_a_wrong_ramp_is_named(complaint: str) -> None:
    (found,) = check_linear(RAMPS[complaint])
    assert complaint in found


# --- The gates of a step ---------------------------------------------------------------------------------------------------


def redrawn(n: int, p: float, rng: np.random.Generator) -> np.ndarray:
    while True:
        if (gates := rng.random(n) < p).any():
            return gates


def forced(which: Callable[[int, np.random.Generator], int]) -> Callable[..., np.ndarray]:
    def draw(n: int, p: float, rng: np.random.Generator) -> np.ndarray:
        gates = rng.random(n) < p
        if not gates.any():
            gates[which(n, rng)] = True
        return gates

    return draw


DRAWS = {
    "all gates are shut": lambda n, p, rng: rng.random(n) < p,
    "gate 0 opens in": forced(lambda n, rng: 0),
    "exactly 1 open": forced(lambda n, rng: int(rng.integers(n))),
    "opens in 85% of the draws, but p is 15%: reverse": lambda n, p, rng: redrawn(n, 1 - p, rng),
    "all draws are the same": lambda n, p, rng: redrawn(n, p, np.random.default_rng(0)),
    "it returns shape [8], float64": lambda n, p, rng: redrawn(n, p, rng) * 1.0,
    "it returns shape [], object": lambda n, p, rng: None,
}


def test_redrawing_passes() -> None:
    assert check_draw(redrawn) == []


@pytest.mark.parametrize("complaint", DRAWS)
def test_a_wrong_draw_is_named(complaint: str) -> None:
    (found,) = check_draw(DRAWS[complaint])
    assert complaint in found


# --- How often a block trains ----------------------------------------------------------------------------------------------

P = probabilities(Linear(), 800)
Q = expected_open(8, P[:, None]) / 8
MEAN, MISS = Q.sum(), np.sqrt((Q * (1 - Q)).sum())


@pytest.mark.parametrize(
    ("mean", "miss"),
    [(MEAN, MISS), (round(MEAN), round(MISS, 1)), (512, 10), (510, 10.4), (511, 10), (0.6375 * 800, 10)],
)
def test_right_numbers_of_steps_pass(mean: float, miss: float) -> None:
    assert check_steps(mean, miss) == []


@pytest.mark.parametrize(
    ("mean", "miss", "complaint"),
    [
        (MEAN / 800, MISS, "this is a share"),
        (MEAN / 8, MISS, "this is a percentage"),
        (P.sum(), MISS, "the area under p(t)"),
        (8 * MEAN, MISS, "the sum over the 8 blocks"),
        (700, MISS, "my_mean = 700 is not right"),
        (Q, MISS, "my_mean is not one number"),
        (MEAN, MISS**2, "this is the variance"),
        (MEAN, np.sqrt(MEAN * (1 - MEAN / 800)), "this treats all steps as equal"),
        (MEAN, np.sqrt((P * (1 - P)).sum()), "open with q, not with p"),
        (MEAN, 1, "my_miss = 1 is not right"),
    ],
)
def test_wrong_numbers_of_steps_are_named(mean: object, miss: object, complaint: str) -> None:
    (found,) = check_steps(mean, miss)
    assert complaint in found


# --- Half of the steps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [Exponential(ramp=0.71), lambda x: x**1.1])
def test_half_of_the_steps_passes(schedule: Schedule) -> None:
    assert check_half(schedule) == []


@pytest.mark.parametrize(
    ("schedule", "complaints"),
    [
        (Constant(0.5), ["at the end p is 0.5: it should rise to 1"]),
        (Linear(ramp=1.0), ["a block trains in 52.0% of the steps, not in 50%: its area is one half, and at least one gate"]),
        (Linear(), ["a block trains in 64.0% of the steps, not in 50%"]),
        (Constant(0.7), ["at the end p is 0.7", "a block trains in 70.0%"]),
        (Exponential, ["must be a schedule such as Linear()"]),
        (0.5, ["must be a schedule such as Linear()"]),
    ],
)
def test_what_is_not_half_is_named(schedule: object, complaints: list[str]) -> None:
    found = check_half(schedule)
    assert len(found) == len(complaints)
    assert all(complaint in line for complaint, line in zip(complaints, found, strict=True))
