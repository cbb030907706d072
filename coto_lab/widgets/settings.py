"""Controls for the next training: its learning rate and its schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ipywidgets as widgets
import traitlets

from coto_lab.gating import schedules
from coto_lab.gating.schedules import Constant, Schedule
from coto_lab.training.recipe import Recipe
from coto_lab.widgets.field import NumberField
from coto_lab.widgets.message import Message

_RATES = (1e-4, 1e-1)


class Settings(widgets.VBox):
    """Controls that change recipes, and a line that says what to enter; observe ``recipes`` to follow the changes.

    A recipe stays unchanged until a control is moved.

    Args:
        recipes: name -> recipe, at least one.

    Attributes:
        recipes: name -> recipe with the values of the controls.
        lr: `NumberField` of the learning rate of all recipes.
        shape, start, ramp, p: controls of the schedule of the first recipe that drops blocks; hidden if no recipe drops blocks.
            A constant schedule has ``p``, and every other schedule has ``start`` and ``ramp``.
        message: the line that says what to enter.
        disabled: whether the controls are disabled.
    """

    recipes = traitlets.Dict()
    disabled = traitlets.Bool(False)

    def __init__(self, recipes: Mapping[str, Recipe]):
        first = next(iter(recipes.values()))
        dropping = [name for name, recipe in recipes.items() if recipe.schedule != Constant()]
        schedule = recipes[dropping[0]].schedule if dropping else Constant()
        if type(schedule).__name__ not in schedules.NAMES:
            raise ValueError(
                f"recipes[{dropping[0]!r}] has schedule={schedule!r}, for which there are no controls: "
                f"use one of {', '.join(schedules.NAMES)}, or train by this recipe with fit."
            )
        self._end = getattr(schedule, "end", 1.0)
        low, high = min(_RATES[0], first.lr), max(_RATES[1], first.lr)
        self.lr = NumberField("lr", first.lr, low, high, 0.05, unit="learning rate", log=True)
        self.shape = widgets.Dropdown(
            description="p(t)",
            options=schedules.NAMES,
            value=type(schedule).__name__,
            style={"description_width": "5.5em"},
            layout={"width": "17em"},
        )
        self.p = NumberField("p", schedule.p if isinstance(schedule, Constant) and dropping else 0.5, 0, 1, 0.05)
        self.start = NumberField("starts at", getattr(schedule, "start", 0.0), 0, self._end, 0.05)
        self.ramp = NumberField(f"is {self._end:g} after", getattr(schedule, "ramp", 0.75), 0, 1, 0.05, unit="of the steps")
        self._controls = [self.lr, self.shape, self.p, self.start, self.ramp]
        rows = [widgets.HBox([self.lr, self.shape]), widgets.HBox([self.p, self.start, self.ramp])]
        self.message = Message(self._controls)
        super().__init__([*(rows if dropping else [self.lr]), self.message])
        self.recipes = dict(recipes)
        self.lr.observe(self._set_rate, "value")
        for control in (self.shape, self.p, self.start, self.ramp):
            control.observe(lambda _: self._set_schedule(dropping[0]), "value")
        self.observe(self._enable, "disabled")
        self._enable()

    def __str__(self) -> str:
        """The recipes of the next training in words."""
        return "; ".join(
            f"{name} at learning rate {recipe.lr:g}" + (f", {recipe.schedule}" if recipe.schedule != Constant() else "")
            for name, recipe in self.recipes.items()
        )

    def _set_rate(self, _: Any) -> None:
        self.recipes = {name: replace(recipe, lr=self.lr.value) for name, recipe in self.recipes.items()}

    def _set_schedule(self, name: str) -> None:
        self._enable()
        self.recipes = self.recipes | {name: replace(self.recipes[name], schedule=self._schedule())}

    def _schedule(self) -> Schedule:
        if self.shape.value == "Constant":
            return Constant(self.p.value)
        return getattr(schedules, self.shape.value)(self.start.value, self._end, self.ramp.value)

    def _enable(self, _: Any = None) -> None:
        for control in self._controls:
            control.disabled = self.disabled
        is_constant = self.shape.value == "Constant"
        self.p.layout.display, self.start.layout.display = ("", "none") if is_constant else ("none", "")
        self.ramp.disabled = self.disabled or is_constant
