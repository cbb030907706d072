"""The exercises of the notebook on a model of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coto_lab.exercises._exercise import exercise
from coto_lab.exercises._numbers import as_number
from coto_lab.probes.estimate import Estimate
from coto_lab.tasks.check import check_task
from coto_lab.tasks.task import skeleton_of

_MADE_UP = ((6.0, 8.0, 16, 13.5), (1.0, 3.0, 32, 13.5), (13.0, 8.0, 16, 13.5), (12.0, 2.0, 4, 13.5), (14.0, 1.0, 8, 13.5))
_BETWEEN = "a batch has a whole number of examples: round down, since rounding up does not fit"


@exercise("These are the largest batches that fit.")
def check_largest_batch(largest_batch: Callable[[float, float, int, float], Any]) -> list[str]:
    """Check a function that says how many examples of a batch fit.

    Args:
        largest_batch: called as ``largest_batch(fixed, activations, batch_size, room)``: GiB that do not depend on the batch,
            GiB of the activations of ``batch_size`` examples, and the GiB that there are; returns a whole number, 0 where not
            even one example fits.
    """
    for fixed, activations, batch_size, room in _MADE_UP:
        given = f"fixed={fixed:g}, activations={activations:g}, batch_size={batch_size}, room={room:g}"
        found = largest_batch(fixed, activations, batch_size, room)
        if found is None:
            return ["largest_batch returns None: is there a return?"]
        number = as_number(found)
        if number is None:
            return [f"largest_batch should return one number, and for {given} it returned {found!r}"]
        exact = (room - fixed) / activations * batch_size
        right = max(0, int(exact))
        if number == right:
            continue
        likely = {
            "weights, gradients and optimiser take room too: subtract fixed first": int(room / activations * batch_size),
            "the activations are those of batch_size examples: divide by the activations of one": int(exact / batch_size),
            "there is no batch of less than 0 examples: return 0 where not even the weights fit": int(exact // 1),
            _BETWEEN: int(exact) + 1,
        }  # fmt: skip
        for sentence, wrong in likely.items():
            if number == wrong:
                return [f"{given}: {sentence}"]
        return [f"{given}: {_BETWEEN}" if number != int(number) else f"{given}: {number:g} is wrong; {right} examples fit"]
    return []


@exercise("A task of your own, and what training on it will need.", answers=2)
def check_own_task(my_task: Any, my_estimate: Any, known: str) -> list[str]:
    """Check a task on a model from the hub or a folder, and its estimate.

    Args:
        my_task: the answer, a task with a ``skeleton``.
        my_estimate: the answer, what `estimate` says of it.
        known: the name of the task of the notebook, which is none of the reader's own.
    """
    try:
        check_task(my_task)
    except (TypeError, ValueError) as error:
        return [f"my_task: {error}"]
    if my_task.name == known:
        return [f"my_task has the name {known!r}, as the one above: give name='...', so that reports can tell them apart"]
    if skeleton_of(my_task) is None:
        return ["my_task has no skeleton: take one of the tasks in coto_lab.tasks.hub, such as SupervisedFineTuning"]
    if not isinstance(my_estimate, Estimate):
        return [f"my_estimate is of type {type(my_estimate).__name__}; it should be what estimate(my_task, recipe) returns"]
    if my_estimate.task != my_task.name:
        return [f"my_estimate is of task {my_estimate.task!r}, and the name of my_task is {my_task.name!r}"]
    return []
