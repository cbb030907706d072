"""Activation probability p(t): the probability that a block's adapter is switched on, over the course of training.

A schedule is a pure function of ``progress``, the share of training that is done (0 at the first step, 1 after the last).
All ramps rise from ``start`` to ``end`` during the first ``ramp`` share of training and then stay at ``end``; only their shapes
differ. Source: arXiv:2506.05713, progressive activation (linear) and its ablation of shapes (sine, exponential).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from coto_lab.ground.numbers import real_number


def _probability(name: str, value: object) -> float:
    number = real_number(name, value)
    if not 0 <= number <= 1:  # NaN fails the comparison
        raise ValueError(f"{name}={value!r}: must be a finite number in [0, 1].")
    return number


class Schedule(ABC):
    """A pure function from progress to activation probability."""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """The activation probability at ``progress``, which must be in [0, 1]; otherwise ValueError."""


def check_schedule(schedule: Schedule) -> Schedule:
    """Return ``schedule`` if it gives probabilities; it is a `Schedule` or any function from progress to p.

    Raises:
        ValueError: ``schedule`` is not such a function.
    """
    try:
        found: object = [float(schedule(progress)) for progress in (0.0, 0.5, 1.0)]
        right = not isinstance(schedule, type) and all(0 <= p <= 1 for p in found)  # type: ignore[attr-defined]
    except TypeError as error:
        found, right = error, False
    if not right:
        raise ValueError(
            f"schedule={schedule!r} gives {found} at progress 0, 0.5 and 1: must be a schedule such as Linear(), or a function "
            "from progress (0 to 1) to a probability."
        )
    return schedule


@dataclass(frozen=True)
class Constant(Schedule):
    """p is the same throughout: stochastic depth for LoRA at ``p < 1``, plain LoRA at ``p = 1``.

    >>> Constant(0.5)(0.9)
    0.5
    """

    p: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", _probability("p", self.p))

    def __call__(self, progress: float) -> float:
        _probability("progress", progress)
        return self.p


@dataclass(frozen=True)
class _Ramp(Schedule):
    start: float = 0.0
    end: float = 1.0
    ramp: float = 0.75

    def __post_init__(self) -> None:
        for name in ("start", "end", "ramp"):
            object.__setattr__(self, name, _probability(name, getattr(self, name)))
        if self.start > self.end:
            raise ValueError(f"start={self.start} is above end={self.end}: the probability must rise. Swap the two.")

    def __call__(self, progress: float) -> float:
        progress = _probability("progress", progress)
        if progress >= self.ramp:  # with ramp = 0, p is at the end value from the first step on
            return self.end
        return self.start + (self.end - self.start) * self._shape(progress / self.ramp)

    @abstractmethod
    def _shape(self, x: float) -> float:
        """From 0 at x = 0 to 1 at x = 1."""


@dataclass(frozen=True)
class Linear(_Ramp):
    """The paper's schedule: p rises evenly over the first 75% of training, p(t) = 4t / 3T, then 1.

    With the default ramp, a third of the ramp is done at a quarter of the training:

    >>> round(Linear()(0.25), 4), Linear()(0.75), Linear(start=0.1)(0.0)
    (0.3333, 1.0, 0.1)
    """

    def _shape(self, x: float) -> float:
        return x


@dataclass(frozen=True)
class Sine(_Ramp):
    """Fast start: p follows the first quarter of a sine wave.

    At a third of the ramp, p has risen by sin(30°) = 0.5 of the whole way:

    >>> round(Sine()(0.25), 4), Sine()(1.0)
    (0.5, 1.0)
    """

    def _shape(self, x: float) -> float:
        return math.sin(math.pi / 2 * x)


@dataclass(frozen=True)
class Exponential(_Ramp):
    """Slow start: p follows (e^{kx} - 1) / (e^k - 1), with k = 4. (The paper names the shape but not the constant.)

    At half of the ramp, p has risen by 1 / (e^2 + 1) = 12% of the whole way:

    >>> round(Exponential(ramp=1.0)(0.5), 4), Exponential()(0.75)
    (0.1192, 1.0)
    """

    def _shape(self, x: float) -> float:
        return math.expm1(4 * x) / math.expm1(4)


NAMES = ("Linear", "Sine", "Exponential", "Constant")
