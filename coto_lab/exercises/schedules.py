"""The exercises of the notebook on schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from coto_lab.exercises._compare import mistake
from coto_lab.exercises._exercise import exercise
from coto_lab.exercises._numbers import as_number
from coto_lab.gating.coto import expected_open, probabilities, training_masks
from coto_lab.gating.schedules import Constant, Linear, check_schedule

_BLOCKS, _STEPS = 8, 800  # as in the gallery's runs
_DRAWS, _P = 4000, 0.15
_NEAR = 0.04  # tolerance between shares of 4,000 draws, which is about six standard deviations

_SETTINGS: tuple[dict[str, float], ...] = (
    {},
    {"start": 0.1},
    {"end": 0.6},
    {"ramp": 0.5},
    {"start": 0.2, "end": 0.6, "ramp": 0.5},
    {"ramp": 0.0},
)
_PROGRESS = (0.0, 0.25, 0.3, 0.5, 0.75, 1.0)


@exercise("This is the paper's schedule.")
def check_linear(my_linear: Callable[..., float]) -> list[str]:
    """Check a linear ramp written by hand.

    Args:
        my_linear: called as ``my_linear(progress, start=0.0, end=1.0, ramp=0.75)``; returns p.
    """

    def differs(function: Callable[..., float], settings: dict[str, float]) -> float | None:
        """The first progress at which the answer is not this function."""
        return next((x for x in _PROGRESS if not _is(my_linear(x, **settings), function(x, **settings))), None)

    likely = {
        "it rises over the whole training: divide progress by ramp": lambda x, start=0.0, end=1.0, ramp=0.75: (
            start + (end - start) * x
        ),
        "start and end have no effect": lambda x, start=0.0, end=1.0, ramp=0.75: Linear(ramp=ramp)(x),
        "it does not begin at start: add start": lambda x, start=0.0, end=1.0, ramp=0.75: (
            end if x >= ramp else (end - start) * x / ramp
        ),
        "it jumps at the end of the ramp: it should rise by end - start": lambda x, start=0.0, end=1.0, ramp=0.75: (
            end if x >= ramp else start + end * x / ramp
        ),
    }
    without_0 = [settings for settings in _SETTINGS if settings.get("ramp") != 0]
    for said, wrong in likely.items():
        if all(differs(wrong, settings) is None for settings in without_0):
            return [said]
    for settings in _SETTINGS:
        try:
            at = differs(lambda x, settings=settings, **_: Linear(**settings)(x), settings)
        except ZeroDivisionError:
            return ["with ramp=0 it divides by 0: ask first whether progress has reached ramp"]
        if at is not None:
            called = ", ".join([f"{at:g}", *(f"{name}={value:g}" for name, value in settings.items())])
            found, right = my_linear(at, **settings), Linear(**settings)(at)
            after = ": from ramp on, p stays at end" if at > settings.get("ramp", 0.75) else ""
            return [f"my_linear({called}) is {_shown(found)}; it should be {right:.4g}{after}"]
    return []


@exercise("The distribution is that of draw_mask.")
def check_draw(my_draw: Callable[[int, float, np.random.Generator], Any]) -> list[str]:
    """Check a draw of gates of which at least one is open.

    Args:
        my_draw: called as ``my_draw(n, p, rng)``; returns a bool array ``[n]``, True = open.
    """
    rng = np.random.default_rng(0)
    first = np.asarray(my_draw(_BLOCKS, _P, rng))
    if first.shape != (_BLOCKS,) or first.dtype != bool:
        return [
            f"my_draw({_BLOCKS}, {_P}, rng) should return an array of {_BLOCKS} values True or False; it returns shape "
            f"{list(first.shape)}, {first.dtype}"
        ]
    mine = np.stack([my_draw(_BLOCKS, _P, rng) for _ in range(_DRAWS)])
    if (mine == mine[0]).all():
        return ["all draws are the same: take the random numbers from rng"]
    if (shut := (~mine.any(axis=1)).mean()) > 0:
        return [f"in {shut:.0%} of the draws all gates are shut: draw again until one is open"]
    often = mine.mean(axis=0)
    if abs(often - expected_open(_BLOCKS, 1 - _P) / _BLOCKS).max() < _NEAR:
        return [f"a gate opens in {often.mean():.0%} of the draws, but p is {_P:.0%}: reverse the comparison with p"]
    if often.max() - often.min() > 2 * _NEAR:
        most, least = int(often.argmax()), int(often.argmin())
        return [
            f"gate {most} opens in {often[most]:.0%} of the draws, gate {least} in {often[least]:.0%}: treat all gates "
            "alike. If no gate opens, draw all of them again"
        ]
    masks = training_masks(_BLOCKS, Constant(_P), total_steps=_DRAWS, seed=0).numpy()
    ours, theirs = _how_many_open(mine), _how_many_open(masks)
    if (gap := abs(ours - theirs)).max() > _NEAR:
        k = int(gap.argmax())
        return [
            f"exactly {k} open: {ours[k]:.0%} of your draws, {theirs[k]:.0%} of those of draw_mask. If no gate "
            "opens, draw all of them again, with the same p"
        ]
    return []


@exercise("Both are right.", answers=2)
def check_steps(my_mean: Any, my_miss: Any) -> list[str]:
    """Check the number of steps in which a block trains under ``Linear()``, with 800 steps and 8 blocks.

    Args:
        my_mean: the number of steps in which a block trains, on average over seeds.
        my_miss: the standard deviation of this number between seeds.
    """
    p = probabilities(Linear(), _STEPS)
    q = expected_open(_BLOCKS, p[:, None]) / _BLOCKS
    mean, variance = q.sum(), (q * (1 - q)).sum()
    likely_mean = {
        "this is a share: the question is for a number of steps": mean / _STEPS,
        "this is a percentage: the question is for a number of steps": 100 * mean / _STEPS,
        "this is the area under p(t): add that at least one gate is open (expected_open)": p.sum(),
        "this is the sum over the 8 blocks: divide it by 8": _BLOCKS * mean,
    }
    likely_miss = {
        "this is the variance: take its square root": variance,
        "this treats all steps as equal: add up q (1 - q) step by step": np.sqrt(mean * (1 - mean / _STEPS)),
        "the gates are open with q, not with p: use expected_open here too": np.sqrt((p * (1 - p)).sum()),
    }
    answers = {
        "my_mean": (my_mean, mean, likely_mean, 2.5),  # 63.7% of 800 is right too, and so is a count
        "my_miss": (my_miss, np.sqrt(variance), likely_miss, 0.5),
    }
    complaints = []
    for what, (answer, right, likely, margin) in answers.items():
        number = as_number(answer)
        complaints += [f"{what} is not one number"] if number is None else mistake(what, number, right, likely, margin=margin)
    return complaints


@exercise("A block trains in half of the steps, and at the end all do.")
def check_half(my_schedule: Any) -> list[str]:
    """Check a schedule that should train each of 8 blocks in half of 800 steps, ± 1%, and end with p = 1.

    Args:
        my_schedule: the answer, a schedule.
    """
    try:
        p = probabilities(check_schedule(my_schedule), _STEPS)
    except ValueError as error:
        return [str(error)]
    complaints = []
    if (end := my_schedule(1.0)) < 1:
        complaints.append(f"at the end p is {end:.4g}: it should rise to 1")
    share = expected_open(_BLOCKS, p[:, None]).mean() / _BLOCKS
    if abs(share - 0.5) > 0.01:
        area = ": its area is one half, and at least one gate is always open" if abs(p.mean() - 0.5) < 0.01 else ""
        complaints.append(f"a block trains in {share:.1%} of the steps, not in 50%{area}")
    return complaints


def _is(found: Any, right: float) -> bool:
    number = as_number(found)
    return number is not None and abs(number - right) < 1e-6  # float32 is precise enough


def _shown(found: Any) -> str:
    number = as_number(found)
    return repr(found) if number is None else f"{number:.4g}"


def _how_many_open(masks: np.ndarray) -> np.ndarray:
    return np.bincount(masks.sum(axis=1), minlength=_BLOCKS + 1) / len(masks)
