"""A view in which the reader changes a schedule and sees what it does to a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets
import numpy as np
from torch import Tensor

from coto_lab.figures import plan_figure
from coto_lab.gating.coto import expected_open, probabilities, training_masks
from coto_lab.gating.schedules import Constant, Exponential, Linear, Schedule, Sine
from coto_lab.probes.cost import Cost, spared
from coto_lab.widgets.field import NumberField
from coto_lab.widgets.message import Message
from coto_lab.widgets.view import View
from coto_lab.widgets.words import percent

_SHAPES = {"Linear": Linear, "Sine": Sine, "Exponential": Exponential, "Constant": Constant}
_WAYS = {"Linear": "evenly", "Sine": "fast at first", "Exponential": "slowly at first"}
_PRESETS: dict[str, tuple[Schedule, str]] = {
    "paper": (Linear(), "p rises evenly from 0 to 1 over the first 75% of the steps"),
    "README snippet": (Linear(start=0.1), "p rises from 0.1 to 1, as in the README of the paper's repository"),
    "stochastic depth": (Constant(0.5), "No ramp: p = 0.5 in all steps"),
    "plain LoRA": (Constant(1.0), "Every block trains in every step"),
}
_FIRST = {"p": 0.5, "blocks": 8, "steps": 800, "seed": 0}
_LAST_SEED = 99


class ScheduleExplorer(View):
    """Change a schedule and see p(t), the draws of every gate, how often each block trains, and the work saved.

    Args:
        cost: the result of `measure_cost` on this machine. It predicts the time saved if the number of blocks is the one
            that was measured.

    Attributes:
        shape: dropdown: Linear, Sine, Exponential, Constant.
        fields: the `NumberField` of p (of a constant), start, end, ramp, blocks, steps and seed, by name. Start is never above
            end.
        presets: buttons by name.
        another: button that sets the next seed.
        reset: button that sets all controls to their first values.
        message: the line that says what to enter.
        masks: the masks that the schedule draws, ``BoolTensor [steps, n_blocks]``, True = open.
    """

    masks: Tensor

    def __init__(self, cost: Cost | None = None):
        self.cost = cost
        self.shape = widgets.Dropdown(
            description="shape", options=list(_SHAPES), style={"description_width": "5.5em"}, layout={"width": "17em"}
        )
        self.fields = {
            "p": NumberField("p", _FIRST["p"], 0, 1, 0.05),
            "start": NumberField("start", 0, 0, 1, 0.05),
            "end": NumberField("end", 1, 0, 1, 0.05),
            "ramp": NumberField("ramp", 0.75, 0, 1, 0.05, unit="of the steps"),
            "blocks": NumberField("blocks", _FIRST["blocks"], 1, 32, 1, whole=True),
            "steps": NumberField("steps", _FIRST["steps"], 10, 5000, 10, whole=True),
            "seed": NumberField("seed", _FIRST["seed"], 0, _LAST_SEED, 1, whole=True),
        }
        self.presets = {name: _button(name, tooltip) for name, (_, tooltip) in _PRESETS.items()}
        self.another = _button("another draw", "The same schedule with the next seed")
        self.reset = _button("Reset", "The paper's schedule; 8 blocks, 800 steps, seed 0")
        self.reset.icon = "undo"
        buttons = [*self.presets.values(), self.another, self.reset]
        self.message = Message([self.shape, *self.fields.values(), *buttons])
        p, start, end, ramp, *sizes = self.fields.values()
        rows = ([self.shape, p, start, end, ramp], [*sizes, self.message])  # equally long, because p or start is hidden
        columns = [widgets.VBox(column, layout={"width": "50%"}) for column in rows]
        figure = plan_figure(self.schedule, self._draw())
        super().__init__(figure, [widgets.HBox(buttons), widgets.HBox(columns)], "coto-schedule")
        self._moving = False
        for control in (self.shape, *self.fields.values()):
            control.observe(self._moved, "value")
        for name, (schedule, _) in _PRESETS.items():
            self.presets[name].on_click(lambda _, schedule=schedule: self._set(schedule))
        self.another.on_click(lambda _: self._draw_another())
        self.reset.on_click(lambda _: self._set(Linear(), _FIRST))
        self._redraw()

    @property
    def schedule(self) -> Schedule:
        """The schedule that the controls shape, p, start, end and ramp describe."""
        p, start, end, ramp = (self.fields[name].value for name in ("p", "start", "end", "ramp"))
        return Constant(p) if self._constant else _SHAPES[self.shape.value](start, end, ramp)

    @property
    def steps(self) -> int:
        """Optimiser steps in the whole training."""
        return self.fields["steps"].value

    @property
    def seed(self) -> int:
        """The seed of the draws, as in a recipe."""
        return self.fields["seed"].value

    @property
    def _constant(self) -> bool:
        return self.shape.value == "Constant"

    def _set(self, schedule: Schedule, others: dict[str, float] | None = None) -> None:
        with self._one_redraw():
            self.shape.value = type(schedule).__name__
            for name in ("start", "end"):
                self.fields[name].limit()  # both values change, so the limit of the old ones must not apply
            for name, value in (vars(schedule) | (others or {})).items():
                self.fields[name].value = value

    def _draw_another(self) -> None:
        self.fields["seed"].value = (self.seed + 1) % (_LAST_SEED + 1)

    def _moved(self, _: Any) -> None:
        if not self._moving:
            self._redraw()

    @contextmanager
    def _one_redraw(self) -> Iterator[None]:
        self._moving = True
        try:
            yield
        finally:
            self._moving = False
        self._redraw()

    def _draw(self) -> Tensor:
        return training_masks(self.fields["blocks"].value, self.schedule, total_steps=self.steps, seed=self.seed)

    def _redraw(self) -> None:
        p, start, end, ramp, *_ = self.fields.values()
        p.layout.display, start.layout.display = ("", "none") if self._constant else ("none", "")
        end.disabled = ramp.disabled = self._constant
        start.limit(high=end.value, reason=f"; p ends at {end.value:g}")
        end.limit(low=start.value, reason=f"; p starts at {start.value:g}")
        self.masks = self._draw()
        plan_figure(self.schedule, self.masks, self._time_saved(), self.figure)
        self.say(self._sentence())

    def _time_saved(self) -> float | None:
        if self.cost is None or self.cost.n_blocks != self.masks.shape[1]:
            return None
        return self.cost.saving(self.masks)

    def _sentence(self) -> str:
        n_blocks = self.masks.shape[1]
        p = probabilities(self.schedule, self.steps)
        average, expected = self.masks.sum(1).double().mean(), expected_open(n_blocks, p[:, None]).mean()
        adapter, backward = spared(self.masks)
        time_saved = self._time_saved()
        time = "" if time_saved is None else f", and by the cost measured here {percent(time_saved)} of the time"
        return (
            f"{self._rise(p)}. On average {average:.1f} of {n_blocks} blocks train (expected: {expected:.1f}); "
            f"{self._often()}. Compared with plain LoRA, this saves {percent(adapter)} of the adapters' work and "
            f"{percent(backward)} of the backward passes through blocks{time}."
        )

    def _often(self) -> str:
        share = self.masks.double().mean(0)
        least, most = int(share.argmin()), int(share.argmax())
        low, high = percent(share[least].item()), percent(share[most].item())
        if low == high:  # two numbers that look the same are not contrasted
            return f"every block trains in {'about ' * bool(share[least] < share[most])}{low} of the steps"
        return f"block {least} trains least often, in {low} of the steps, and block {most} most often, in {high}"

    def _rise(self, p: np.ndarray) -> str:
        if p[0] == p[-1]:
            return f"p is {p[0]:g} in all {self.steps} steps"
        rising = int((p < self.fields["end"].value).sum())
        return (
            f"p rises from {self.fields['start'].value:g} to {self.fields['end'].value:g}, {_WAYS[self.shape.value]}, over "
            f"the first {rising} of {self.steps} steps"
        )


def _button(name: str, tooltip: str) -> widgets.Button:
    return widgets.Button(description=name, tooltip=tooltip, layout={"width": "auto"})
