"""The reader's guess before a reveal."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from coto_lab.widgets._view import spoken


class Prediction(widgets.VBox):
    """A question with one slider per method; ``guesses`` holds what the reader locked in, to be drawn onto a figure.

    Args:
        question: the text above the sliders.
        methods: one slider each.
        start: where the sliders begin, in percent.
    """

    def __init__(self, question: str, methods: Sequence[str] = ("LoRA", "CoTo"), start: float = 50.0):
        look = {"style": {"description_width": f"{max(map(len, methods)) + 1}ch"}, "continuous_update": False}
        self._sliders = {
            name: widgets.FloatSlider(value=start, min=0, max=100, step=1, description=name, readout_format=".0f", **look)
            for name in methods
        }
        self.lock = widgets.Button(description="Lock in my guess", icon="lock", tooltip="Record the sliders' values")
        self.lock.on_click(self._record)
        self._text = widgets.HTML(spoken("Move the sliders (percent), then lock in your guess. Or go on without one."))
        self.guesses: dict[str, float] = {}
        super().__init__([widgets.HTML(f"<b>{question}</b>"), *self._sliders.values(), self.lock, self._text])
        self.add_class("coto-prediction")

    def _record(self, _: widgets.Button) -> None:
        self.guesses = {name: slider.value for name, slider in self._sliders.items()}
        for slider in self._sliders.values():
            slider.disabled = True
        self.lock.disabled = True
        told = ", ".join(f"{name} {value:.0f}%" for name, value in self.guesses.items())
        self._text.value = spoken(f"Your guess is recorded: {told}. The figure that follows shows it as crosses.")
