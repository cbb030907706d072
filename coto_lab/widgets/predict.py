"""A question that the reader answers by a guess before the answer is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets
import plotly.graph_objects as go
from IPython.display import HTML, DisplayHandle

from coto_lab.notebook.place import SCRIPT, where
from coto_lab.widgets.field import NumberField
from coto_lab.widgets.message import Message
from coto_lab.widgets.view import spoken

_PLOTLY = "application/vnd.plotly.v1+json"

Draw = Callable[[Mapping[str, float]], go.Figure]


class Prediction(widgets.VBox):
    """A question with one number per method, in percent, which the reader can guess until `reveal` shows the answer::

        prediction = Prediction("Test accuracy of the fusion, in percent")
        prediction
        prediction.reveal(lambda guesses: interpolation_figure(curves, guesses), {"LoRA": 58.2, "CoTo": 93.3})

    Args:
        question: the text above the sliders.
        methods: names of the methods; the reader guesses one number for each.
        start: the first position of the sliders, in percent.

    Attributes:
        guesses: method name -> recorded percent; empty before a guess is recorded.
        record: button that records the guess.
        message: the line that says what to enter.

    Raises:
        ValueError: there are no methods, or ``start`` is not from 0 to 100.
    """

    def __init__(self, question: str, methods: Sequence[str] = ("LoRA", "CoTo"), start: float = 50.0):
        if not methods:
            raise ValueError("methods is empty: give at least one name.")
        width = 0.6 * max(map(len, methods)) + 1
        self._fields = {name: NumberField(name, start, 0, 100, 1, unit="%", label_width=width) for name in methods}
        self.record = widgets.Button(description="Record my guess", icon="check", tooltip="Keep these numbers as my guess")
        self.message = Message(list(self._fields.values()))
        self.record.on_click(self._record)
        self._text = widgets.HTML(spoken("Move the sliders or type, then record your guess. You can also go on without one."))
        self.guesses: dict[str, float] = {}
        self._answer: _Answer | None = None
        super().__init__([widgets.HTML(f"<b>{question}</b>"), *self._fields.values(), self.message, self.record, self._text])
        self.add_class("coto-prediction")

    def reveal(self, draw: Draw, truth: Mapping[str, float] | None = None) -> None:
        """Show the answer and the guess below the cell, and say how far off the guess was. The guess can no longer be changed.

        If there is no guess yet, the figure shows only the answer; the first guess that is recorded is added to the figure.
        (After a reload of the page, run the cell again to add a guess.) A script shows nothing.

        Args:
            draw: makes the figure from the guesses; it gets ``{}`` if there is no guess.
            truth: method name -> the right number, in percent. With None, the sentence about how far off the guess was is
                left out.

        Raises:
            ValueError: ``truth`` has a method that is not in the question.
        """
        if unknown := set(truth or ()) - self._fields.keys():
            raise ValueError(f"truth has {sorted(unknown)}: the question is about {list(self._fields)} only.")
        self._answer = _Answer(draw, {name: float(number) for name, number in (truth or {}).items()}, self.guesses)
        self._close()

    def _record(self, _: widgets.Button) -> None:
        if any(field.problem for field in self._fields.values()):
            self._text.value = spoken("Nothing was recorded: one of the numbers does not fit.")
            return
        self.guesses = {name: field.value for name, field in self._fields.items()}
        self._text.value = spoken(f"Recorded: {self._told()}. You can change your guess until the answer is shown.")
        if self._answer is not None:
            self._answer.change(self.guesses)
            self._close()

    def _close(self) -> None:
        if not self.guesses:
            self._text.value = spoken("The answer is shown. If you record a guess now, the figure shows it, too.")
            return
        for name, field in self._fields.items():
            field.value = self.guesses[name]  # the reader may have moved the slider after recording
            field.disabled = True
        self.record.disabled = True
        self._text.value = spoken(f"Your guess was {self._told()}. The figure shows it as crosses.")

    def _told(self) -> str:
        return ", ".join(f"{name} {value:g}%" for name, value in self.guesses.items())


class _Answer:
    """A figure and a sentence that are shown once; a later guess changes both in place."""

    def __init__(self, draw: Draw, truth: Mapping[str, float], guesses: Mapping[str, float]):
        self._draw, self._truth = draw, truth
        self._figure, self._sentence = DisplayHandle(), DisplayHandle()
        figure = draw(guesses)
        if where().place != SCRIPT:
            # A figure that is displayed by itself cannot be changed later, so its MIME bundle is displayed instead.
            self._figure.display(figure._repr_mimebundle_(), raw=True)
            self._sentence.display(HTML(self._said(guesses)))

    def change(self, guesses: Mapping[str, float]) -> None:
        figure = self._draw(guesses)
        if where().place != SCRIPT:
            bundle = figure._repr_mimebundle_()
            if _PLOTLY in bundle:  # JupyterLab does not replace one figure by another, so the old one is removed first
                self._figure.update({"text/html": ""}, raw=True)
            self._figure.update(bundle, raw=True)
            self._sentence.update(HTML(self._said(guesses)))

    def _said(self, guesses: Mapping[str, float]) -> str:
        told = [_off(name, guess, self._truth[name]) for name, guess in guesses.items() if name in self._truth]
        return spoken(" ".join(told))


def _off(name: str, guess: float, truth: float) -> str:
    points = round(abs(guess - truth), 1)
    direction = "high" if guess > truth else "low"
    off = f"{points:g} point{'s' * (points != 1)} too {direction}" if points else "exactly right"
    return f"Your guess for {name}, {guess:g}%, is {off}: the answer is {truth:.1f}%."
