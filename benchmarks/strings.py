"""The same comparisons on the embedded language model: many runs on one base, an interpolation, exact Shapley values."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from statistics import median

from _setup import Scale
from _timing import in_turns
from scores import game, interpolation
from steps import PlainPeft, repeated, stacked_step

from coto_lab import Task, Training, load_task
from coto_lab.studies.legs import STRINGS

NAME = "strings/sort-descending"
_SINGLE = 3  # single steps in a row, as a run takes them; each counts a third of the time


@dataclass(frozen=True)
class _StringScale(Scale):
    """A scale whose task is one on strings, with its own base at every scale."""

    def task(self, *, blocks: int | None = None, images: int | None = None, attention: str = "sdpa") -> Task:
        task = _task(self.examples)
        return task if images is None else task.every(max(1, task.size("test") // images))


@cache
def _task(examples: int | None) -> Task:
    task = load_task(NAME)
    return replace(task, train=task.train[:examples])


def strings(scale: Scale) -> dict[str, float]:
    """Training, interpolation and coalitions of 8 blocks, each beside the loop that one would write, as on the digits."""
    own = _StringScale(**{field.name: getattr(scale, field.name) for field in fields(scale)} | {"blocks": (8, 8)})
    found = _together(own) | interpolation(own) | game(own, 0, "shapley8")
    return {f"strings.{name}": value for name, value in found.items()}


def _together(scale: Scale) -> dict[str, float]:
    """A stacked step beside single steps, of the lab and of plain PEFT."""
    recipe = replace(STRINGS.methods["LoRA"], steps=_SINGLE * scale.turns)
    task = scale.task()
    calls = {
        "many": stacked_step(task, recipe, scale.rows, _SINGLE),
        "fit": repeated(Training(task, recipe).step, _SINGLE),
        "peft": repeated(PlainPeft(task, recipe).step, _SINGLE),
    }
    taken = in_turns(calls, scale.turns)
    many, fit, peft = median(taken["many"]), median(taken["fit"]) / _SINGLE, median(taken["peft"]) / _SINGLE
    return {
        "step.lora_ms": 1000 * fit,
        "step.lora_over_peft": fit / peft,
        "fit_many.step_ms": 1000 * many,
        "fit_many.over_fits": scale.rows * fit / many,
        "fit_many.over_peft": scale.rows * peft / many,
    }
