"""A number that a reader sets by a slider or by typing."""

from __future__ import annotations

import math
from typing import Any

import ipywidgets as widgets
import traitlets

_RIGID = {"flex": "0 0 auto"}
_WRONG = "1px solid var(--jp-error-color1, #D32F2F)"
_RIGHT = "1px solid transparent"  # as wide as the red border, so that nothing moves


class NumberField(widgets.HBox):
    """A slider and a field to type into; observe ``value`` to follow the number.

    A typed number is used exactly, and the slider's handle moves to its nearest position. A text that is not a number, or a
    number out of range, stays in the field with a red border: ``value`` does not change, and ``problem`` says what to enter.
    A `Message` shows the problem. While the slider is dragged, ``value`` follows it; if each change causes much work, set
    ``slider.continuous_update = False``.

    Args:
        label: the name of the number, shown before the slider.
        value: the first number.
        low, high: the range, ends included.
        step: the distance between two positions of the slider; with ``log`` in powers of ten.
        unit: the unit, shown after the number, e.g. ``"steps"``.
        whole: whether only whole numbers are allowed; ``value`` is then an int.
        log: whether the slider is logarithmic; ``low`` must then be above 0.
        label_width: the width of the label, in em.

    Attributes:
        value: the number, an int with ``whole`` and a float otherwise. Setting an invalid number raises ValueError.
        problem: what to enter instead of the invalid text; empty if there is no problem.
        disabled: whether the slider and the field are disabled.
        slider, field: the two parts.

    Raises:
        ValueError: ``value`` is out of range.
    """

    value = traitlets.Any()
    problem = traitlets.Unicode()
    disabled = traitlets.Bool(False)

    def __init__(
        self,
        label: str,
        value: float,
        low: float,
        high: float,
        step: float,
        *,
        unit: str = "",
        whole: bool = False,
        log: bool = False,
        label_width: float = 5.5,
    ):
        self.label, self.whole = label, whole
        self._range, self._step, self._log, self._unit = (low, high), step, log, unit
        self._handle = math.nan  # the position that the kernel gave the slider
        self.limit()
        look = {
            "description": label,
            "readout": False,
            "style": {"description_width": f"{label_width}em"},
            "layout": {"width": f"{label_width + 11.5}em", **_RIGID},
        }
        if log:
            self.slider = widgets.FloatLogSlider(step=step, min=math.log10(low), max=math.log10(high), **look)
        else:
            kind = widgets.IntSlider if whole else widgets.FloatSlider
            self.slider = kind(min=low, max=high, step=step, **look)
        self.field = widgets.Text(continuous_update=False, layout={"width": "4.5em", "border": _RIGHT, **_RIGID})
        name = f"{label}: type {self._wanted()}"
        self.field.placeholder = name  # for screen readers: in ipywidgets 7 (Colab) a text field has no tooltip
        self.field.tooltip = name
        super().__init__([self.slider, self.field, widgets.Label(unit, layout=_RIGID)], layout={"flex_flow": "row wrap"})
        self.add_class("coto-number")
        self.observe(self._show, "value")
        self.observe(self._frame, "problem")
        self.observe(lambda _: self.restore(), "disabled")
        self.value = value
        self.slider.observe(self._slid, "value")
        self.field.observe(self._typed, "value")
        for part in (self.slider, self.field):
            traitlets.link((self, "disabled"), (part, "disabled"))

    def limit(self, low: float = -math.inf, high: float = math.inf, reason: str = "") -> None:
        """Narrow the range until the next call; `problem` then gives the ``reason``. Without arguments, restore the range."""
        self.low, self.high = max(low, self._range[0]), min(high, self._range[1])
        self._reason = reason

    def restore(self) -> None:
        """Show the number in use in the field again, instead of an invalid text."""
        self.field.value = self._shown()
        self.problem = ""

    @traitlets.validate("value")
    def _checked(self, proposal: Any) -> float:
        number = proposal["value"]
        if problem := self._problem_of(number):
            raise ValueError(f"{self.label}={number!r}: {problem}.")
        return int(number) if self.whole else float(number)

    def _problem_of(self, number: float) -> str:
        fits = self.low <= number <= self.high and not (self.whole and number % 1)  # NaN fails the comparison
        return "" if fits else f"Enter {self._wanted()}"

    def _wanted(self) -> str:
        return f"a {'whole ' * self.whole}number from {self.low:g} to {self.high:g}{self._reason}"

    def _show(self, _: Any) -> None:
        if self._of_slider() != self.value:  # not while the reader drags the slider, because its handle would jump
            self._put_handle()
        self.restore()

    def _shown(self) -> str:
        return str(self.value) if self.whole else f"{self.value:.12g}"

    def _frame(self, _: Any) -> None:
        self.field.layout.border = _WRONG if self.problem else _RIGHT

    def _put_handle(self) -> None:
        """Put the slider's handle on the nearest of its positions: a browser would move it there and send that number back."""
        low, high = self._range
        if self._log:
            start = math.log10(low)
            place = 10 ** (start + round((math.log10(self.value) - start) / self._step) * self._step)
        else:
            place = low + round((self.value - low) / self._step) * self._step
        self._handle = min(max(place, low), high)
        self.slider.value = round(self._handle) if isinstance(self.slider, widgets.IntSlider) else self._handle

    def _of_slider(self) -> float:
        """The slider's number, rounded, since a browser sends 0.30000000000000004 for 0.3 and powers of ten miss the ends."""
        near = round(self.slider.value) if self.whole else float(f"{self.slider.value:.4g}")
        return min(max(near, self._range[0]), self._range[1])

    def _slid(self, _: Any) -> None:
        if math.isclose(self.slider.value, self._handle, abs_tol=1e-9):  # the kernel moved the handle, and not the reader
            return
        self._handle = self.slider.value
        number = self._of_slider()
        self.value = min(max(number, self.low), self.high)
        if self.value != number:
            self._put_handle()
            self.problem = self._problem_of(number)
        else:
            self.restore()

    def _typed(self, _: Any) -> None:
        if self.field.value == self._shown():
            self.problem = ""
            return
        text = self.field.value.strip().removesuffix(self._unit)
        try:
            number = float(text.replace(",", ".") if text.count(",") == 1 else text)  # a decimal comma is allowed
        except ValueError:
            number = math.nan
        self.problem = self._problem_of(number)
        if not self.problem:
            self.value = number
            self.restore()  # the field shows the number in its usual form, such as "0.5" for "0.50"
