"""The exercise of the notebook on training that looks for the step at which runs collapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coto_lab.exercises._exercise import exercise
from coto_lab.exercises._numbers import as_number

COLLAPSED = 1.5  # nats: these runs start below 1
_STEPS = 20  # each value of a course is a mean over this many steps


def collapse_step(losses: Sequence[float]) -> int | None:
    """The number of steps taken when a mean over 20 steps first exceeds 1.5 nats; None if no mean does."""
    return next((_STEPS * (i + 1) for i, loss in enumerate(losses) if loss > COLLAPSED), None)


@exercise("These are the steps at which the runs collapse.")
def check_collapses(my_collapses: Any, courses: Mapping[int, Sequence[float]]) -> list[str]:
    """Check the steps at which runs collapse.

    Args:
        my_collapses: the answer, seed -> number of steps taken.
        courses: seed -> the training loss, as means over every 20 steps.
    """
    if not isinstance(my_collapses, Mapping) or my_collapses.keys() != courses.keys():
        return [f"my_collapses should be a dictionary with the seeds {', '.join(map(str, courses))} as its keys"]
    complaints = []
    for seed, losses in courses.items():
        right, answer = collapse_step(losses), as_number(my_collapses[seed])
        if answer == right:
            continue
        likely = {
            "this is the place in the list, counted from 0: each place stands for 20 steps": right and right // _STEPS - 1,
            "this is the place in the list, counted from 1: each place stands for 20 steps": right and right // _STEPS,
            "this is the step at which those 20 steps begin: take the step at which they end": right and right - _STEPS,
        }
        found = (said for said, value in likely.items() if answer is not None and answer == value)
        said = next(found, f"the loss first exceeds {COLLAPSED} elsewhere")
        complaints.append(f"seed {seed}, {my_collapses[seed]!r}: {said}")
    return complaints
