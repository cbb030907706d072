"""What a schedule will do to a training, while the reader shapes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets
import numpy as np
from torch import Tensor

from coto_lab.coto import expected_open, probabilities, training_masks
from coto_lab.figures import plan_figure
from coto_lab.probes.cost import Cost, spared
from coto_lab.schedules import Constant, Exponential, Linear, Schedule, Sine
from coto_lab.widgets._field import NumberField
from coto_lab.widgets._view import View

_SHAPES = {"Linear": Linear, "Sine": Sine, "Exponential": Exponential, "Constant": Constant}
_WAYS = {"Linear": "evenly", "Sine": "fast at first", "Exponential": "slowly at first"}
_PRESETS: dict[str, tuple[Schedule, str]] = {
    "paper": (Linear(), "p rises evenly from 0 to 1 over the first 75% of the steps"),
    "README snippet": (Linear(start=0.1), "The same from p = 0.1, as in the README of the paper's repository"),
    "stochastic depth": (Constant(0.5), "No ramp: p = 0.5 in all steps"),
    "plain LoRA": (Constant(1.0), "Every block trains in every step"),
}
_SIZES = {"blocks": 8, "steps": 800, "seed": 0}


class ScheduleExplorer(View):
    """Shape a schedule and see p(t), every gate's draws, how often each block trains, and what is spared.

    Args:
        cost: `measure_cost` on this machine: predicts the time saved, for as many blocks as it was measured with.

    Attributes:
        shape: dropdown: Linear, Sine, Exponential, Constant.
        fields: `NumberField` of start (of a constant: p), end, ramp, blocks, steps and seed, by name.
        presets: buttons by name.
        reset: button: everything as it was at first.
        masks: what the schedule draws, ``BoolTensor [steps, n_blocks]``, True = open.
    """

    masks: Tensor

    def __init__(self, cost: Cost | None = None):
        self.cost = cost
        self.shape = widgets.Dropdown(
            description="shape", options=list(_SHAPES), style={"description_width": "5.5em"}, layout={"width": "17em"}
        )
        self.fields = {
            "start": NumberField("start", 0, 0, 1, 0.05),
            "end": NumberField("end", 1, 0, 1, 0.05),
            "ramp": NumberField("ramp", 0.75, 0, 1, 0.05, unit="of the steps"),
            "blocks": NumberField("blocks", _SIZES["blocks"], 1, 32, 1, whole=True),
            "steps": NumberField("steps", _SIZES["steps"], 10, 1000, 10, whole=True),
            "seed": NumberField("seed", _SIZES["seed"], 0, 99, 1, whole=True),
        }
        self.presets = {name: _button(name, tooltip) for name, (_, tooltip) in _PRESETS.items()}
        self.reset = _button("Reset", "The paper's schedule; 8 blocks, 800 steps, seed 0")
        self.reset.icon = "undo"
        start, end, ramp, *sizes = self.fields.values()
        columns = [widgets.VBox(column, layout={"width": "50%"}) for column in ([self.shape, start, end, ramp], sizes)]
        figure = plan_figure(self.schedule, self._draw())
        super().__init__(figure, [widgets.HBox([*self.presets.values(), self.reset]), widgets.HBox(columns)], "coto-schedule")
        self._moving = False
        for control in (self.shape, *self.fields.values()):
            control.observe(self._moved, "value")
        for name, (schedule, _) in _PRESETS.items():
            self.presets[name].on_click(lambda _, schedule=schedule: self._set(schedule))
        self.reset.on_click(lambda _: self._set(Linear(), _SIZES))
        self._redraw()

    @property
    def schedule(self) -> Schedule:
        """What shape, start, end and ramp say."""
        start, end, ramp = (self.fields[name].value for name in ("start", "end", "ramp"))
        return Constant(start) if self._constant else _SHAPES[self.shape.value](start, end, ramp)

    @property
    def steps(self) -> int:
        """Optimiser steps in the whole training."""
        return self.fields["steps"].value

    @property
    def seed(self) -> int:
        """Decides the draws, as a recipe's does."""
        return self.fields["seed"].value

    @property
    def _constant(self) -> bool:
        return self.shape.value == "Constant"

    def _set(self, schedule: Schedule, sizes: dict[str, int] | None = None) -> None:
        values = {"start": schedule.p, "end": 1.0} if isinstance(schedule, Constant) else vars(schedule)
        with self._one_redraw():
            self.shape.value = type(schedule).__name__
            for name, value in (values | (sizes or {})).items():
                self.fields[name].value = value
        for field in self.fields.values():
            field.message.value = ""  # of a number typed before

    def _moved(self, change: Any) -> None:
        if self._moving:
            return
        with self._one_redraw():
            start, end = self.fields["start"], self.fields["end"]
            if start.value > end.value:  # p rises: the one that was not moved comes along
                (end if change["owner"] is start else start).value = change["new"]

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
        self.fields["start"].slider.description = "p" if self._constant else "start"
        self.fields["end"].disabled = self.fields["ramp"].disabled = self._constant
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
        return (
            f"{self._rise(p)}; on average {average:.1f} of {n_blocks} blocks train (expected {expected:.1f}); {self._often()}. "
            f"Against plain LoRA this spares {adapter:.0%} of the adapters' work and {backward:.0%} of the backward passes "
            f"through blocks" + ("." if time_saved is None else f"; by the cost measured here, {time_saved:.0%} of the time.")
        )

    def _often(self) -> str:
        share = self.masks.double().mean(0)
        least, most = int(share.argmin()), int(share.argmax())
        if share[least] == share[most]:
            return f"every block trains in {share[0]:.0%} of the steps"
        return f"block {least} least often, in {share[least]:.0%} of the steps, block {most} most often, in {share[most]:.0%}"

    def _rise(self, p: np.ndarray) -> str:
        if p[0] == p[-1]:
            return f"p is {p[0]:g} in all {self.steps} steps"
        rising = int((p < self.fields["end"].value).sum())
        return (
            f"p rises from {self.fields['start'].value:g} to {self.fields['end'].value:g}, {_WAYS[self.shape.value]}, over "
            f"{rising} of {self.steps} steps"
        )


def _button(name: str, tooltip: str) -> widgets.Button:
    return widgets.Button(description=name, tooltip=tooltip, layout={"width": "auto"})
