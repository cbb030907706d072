"""Schedules, draws and savings in the browser: the lab's own numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Error

from coto_lab import Adapter, Classification, CoTo, Gates, attach_gates
from coto_lab.gating import schedules
from coto_lab.gating.coto import expected_open, probabilities, training_masks
from coto_lab.probes.cost import spared

GALLERY = Path(__file__).parents[2] / "data/gallery"
STEPS = 200
PLANS: list[tuple[str, dict[str, float]]] = [
    ("Linear", {}),
    ("Linear", {"start": 0.1}),
    ("Linear", {"start": 0.25, "end": 0.25, "ramp": 0.0}),
    ("Sine", {"ramp": 1.0}),
    ("Exponential", {"end": 0.9}),
    ("Constant", {"p": 0.5}),
    ("Constant", {"p": 0.0}),
    ("Constant", {}),
]
SEEDS = [0, 1, 12345, 2**53 - 1]  # the last is the largest that every step of JavaScript's numbers reaches
SIZES = [1, 2, 3, 5, 12]

MASKS = """
    const { SCHEDULES } = await load("schedules.js");
    const { trainingMasks } = await load("masks.js");
    return argument.map(([n, kind, options, totalSteps, seed]) =>
        trainingMasks(n, SCHEDULES[kind](options), { totalSteps, seed }).map((mask) => mask.map(Number).join("")));
"""


def schedule_of(kind: str, options: dict[str, float]) -> schedules.Schedule:
    return getattr(schedules, kind)(**options)


def as_text(masks: torch.Tensor) -> list[str]:
    return ["".join(str(int(is_open)) for is_open in mask) for mask in masks.tolist()]


@pytest.fixture(scope="module")
def gates(task: Classification) -> Gates:
    return attach_gates(Adapter.load(GALLERY / "coto-seed0").attach(task.load_base()).train())


def test_masks_are_those_of_a_training(run_js: Callable[..., Any], gates: Gates) -> None:
    asked = [(8, kind, options, STEPS, seed) for kind, options in PLANS for seed in SEEDS]
    for (_, kind, options, total_steps, seed), found in zip(asked, run_js(MASKS, asked), strict=True):
        coto = CoTo(gates, schedule_of(kind, options), total_steps=total_steps, seed=seed)
        assert found == as_text(coto.masks()), (kind, options, seed)


def test_masks_of_other_numbers_of_blocks(run_js: Callable[..., Any]) -> None:
    asked = [(n, "Linear", {}, STEPS, 3) for n in SIZES]
    for n, found in zip(SIZES, run_js(MASKS, asked), strict=True):
        assert found == as_text(training_masks(n, schedules.Linear(), total_steps=STEPS, seed=3))


def test_random_numbers_are_numpy_s(run_js: Callable[..., Any]) -> None:
    asked = [(n, key, position) for n in (1, 4, 9) for key in SEEDS for position in (0, 7, 2**40)]
    found = run_js(
        """
        const { uniform } = await load("philox.js");
        return argument.map((numbers) => [...uniform(...numbers)]);
        """,
        asked,
    )
    for (n, key, position), numbers in zip(asked, found, strict=True):
        generator = np.random.Generator(np.random.Philox(key=key, counter=[0, position, 0, 0]))
        assert numbers == generator.random(n).tolist()


def test_schedules_and_expected_numbers(run_js: Callable[..., Any]) -> None:
    found = run_js(
        """
        const { SCHEDULES } = await load("schedules.js");
        const { expectedOpen } = await load("masks.js");
        const values = argument.plans.map(([kind, options]) => {
            const schedule = SCHEDULES[kind](options);
            const p = Array.from({ length: argument.steps }, (_, step) => schedule(step / argument.steps));
            return { p, expected: p.map((p) => expectedOpen(8, p)) };
        });
        return { values, names: Object.keys(SCHEDULES) };
        """,
        {"plans": PLANS, "steps": STEPS},
    )
    assert sorted(found["names"]) == sorted(schedules.NAMES)
    for (kind, options), values in zip(PLANS, found["values"], strict=True):
        p = probabilities(schedule_of(kind, options), STEPS)
        np.testing.assert_allclose(values["p"], p, rtol=1e-14)
        np.testing.assert_allclose(values["expected"], expected_open(8, p[:, None]), rtol=1e-14)


def test_spared_work(run_js: Callable[..., Any]) -> None:
    masks = training_masks(8, schedules.Linear(), total_steps=STEPS, seed=5)
    found = run_js('return (await load("saving.js")).spared(argument);', masks.tolist())
    assert (found["adapters"], found["backward"]) == pytest.approx(spared(masks), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("Linear({ start: 0.8, end: 0.2 })", "Swap the two"),
        ("Sine({ ramp: 1.5 })", "ramp=1.5 must be a number from 0 to 1"),
        ("Constant({ p: NaN })", "p=NaN must be a number"),
    ],
)
def test_what_is_no_schedule(run_js: Callable[..., Any], call: str, message: str) -> None:
    with pytest.raises(Error, match=message):
        run_js(f'return (await load("schedules.js")).SCHEDULES.{call};')


@pytest.mark.parametrize("seed", [-1, 0.5, 2**53, "a"])
def test_what_is_no_seed(run_js: Callable[..., Any], seed: object) -> None:
    with pytest.raises(Error, match=f"key={seed} must be a whole number, 0 or above"):
        run_js('return (await load("masks.js")).drawMask(8, 0.5, argument, 0);', seed)
