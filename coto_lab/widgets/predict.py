"""The reader's guess before a reveal."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from coto_lab.widgets._field import NumberField
from coto_lab.widgets._view import spoken


class Prediction(widgets.VBox):
    """A question with one number per method, in percent; ``guesses`` holds what was locked in, to be drawn onto a figure.

    Args:
        question: the text above the sliders.
        methods: one number each.
        start: where they begin.

    Raises:
        ValueError: no methods; ``start`` not from 0 to 100.
    """

    def __init__(self, question: str, methods: Sequence[str] = ("LoRA", "CoTo"), start: float = 50.0):
        if not methods:
            raise ValueError("methods is empty: give at least one.")
        width = 0.6 * max(map(len, methods)) + 1
        self._fields = {name: NumberField(name, start, 0, 100, 1, unit="%", label_width=width) for name in methods}
        self.lock = widgets.Button(description="Lock in my guess", icon="lock", tooltip="Record these numbers")
        self.lock.on_click(self._record)
        self._text = widgets.HTML(spoken("Move the sliders or type, then lock in your guess. Or go on without one."))
        self.guesses: dict[str, float] = {}
        super().__init__([widgets.HTML(f"<b>{question}</b>"), *self._fields.values(), self.lock, self._text])
        self.add_class("coto-prediction")

    def _record(self, _: widgets.Button) -> None:
        self.guesses = {name: field.value for name, field in self._fields.items()}
        for field in self._fields.values():
            field.disabled = True
        self.lock.disabled = True
        told = ", ".join(f"{name} {value:g}%" for name, value in self.guesses.items())
        self._text.value = spoken(f"Your guess is recorded: {told}. The figure that follows shows it as crosses.")
