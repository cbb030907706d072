"""A number that a reader sets by a slider or by typing."""

from __future__ import annotations

import html
import math
from typing import Any

import ipywidgets as widgets
import traitlets

from coto_lab.widgets._view import spoken

_RIGID = {"flex": "0 0 auto"}  # a message that needs room goes to the next line


class NumberField(widgets.HBox):
    """A slider, a field to type into, and a message beside them; observe ``value``.

    What is typed is refused if it is no number or out of range: the message says so, and ``value`` stays. The value follows the
    slider while it is dragged; where that asks for too much work, set ``slider.continuous_update = False``.

    Args:
        label: what the number is; stands before the slider.
        value: where it begins.
        low, high: the range, ends included.
        step: of the slider; with ``log`` in powers of ten. Numbers in between can be typed.
        unit: stands after the number, e.g. ``"steps"``.
        whole: whole numbers only; ``value`` is then an int.
        log: a logarithmic slider; ``low`` is above 0.
        label_width: of the label, in em.

    Attributes:
        value: the number; int with ``whole``, else float. Setting it out of range raises ValueError.
        disabled: whether slider and field are.
        slider, field, message: the parts.

    Raises:
        ValueError: ``value`` out of range.
    """

    value = traitlets.Any()
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
        self.label, self.low, self.high, self.whole = label, low, high, whole
        look = {
            "description": label,
            "readout": False,
            "style": {"description_width": f"{label_width}em"},
            "layout": {"width": f"{label_width + 11.5}em", **_RIGID},
        }
        if log:
            ends = {"min": math.log10(low), "max": math.log10(high)}
            self.slider = widgets.FloatLogSlider(value=value, step=step, **ends, **look)
        else:
            kind = widgets.IntSlider if whole else widgets.FloatSlider
            self.slider = kind(value=value, min=low, max=high, step=step, **look)
        self.field = widgets.Text(continuous_update=False, layout={"width": "4.5em", **_RIGID})
        name = f"{label}: type a number from {low:g} to {high:g}"
        self.field.placeholder = name  # never seen, but read out, where ipywidgets 7 (Colab) has no tooltip
        self.field.tooltip = name
        self.message = widgets.HTML()
        parts = [self.slider, self.field, widgets.Label(unit, layout=_RIGID), self.message]
        super().__init__(parts, layout={"flex_flow": "row wrap"})
        self.add_class("coto-number")
        self.observe(self._show, "value")
        self.value = value
        self.slider.observe(self._slid, "value")
        self.field.observe(self._typed, "value")
        for part in (self.slider, self.field):
            traitlets.link((self, "disabled"), (part, "disabled"))

    @traitlets.validate("value")
    def _checked(self, proposal: Any) -> float:
        number = proposal["value"]
        if mend := self._mend(number):
            raise ValueError(f"{self.label}={number!r}: {mend}.")
        return int(number) if self.whole else float(number)

    def _mend(self, number: float) -> str:
        """What a number must be and is not; empty where all is well."""
        if not self.low <= number <= self.high:  # NaN fails the comparison
            return f"must be a number from {self.low:g} to {self.high:g}"
        return "must be a whole number" if self.whole and number != int(number) else ""

    def _show(self, _: Any) -> None:
        if self._of_slider() != self.value:  # not while it is dragged: the handle would jump
            self.slider.value = self.value
        self.field.value = self._shown()
        self.message.value = ""

    def _shown(self) -> str:
        return str(self.value) if self.whole else f"{self.value:.4g}"

    def _of_slider(self) -> float:
        """What the slider says, rounded: a browser counts 0.1, 0.2, 0.30000000000000004, and powers of ten miss the ends."""
        near = round(self.slider.value) if self.whole else float(f"{self.slider.value:.4g}")
        return min(max(near, self.low), self.high)

    def _slid(self, _: Any) -> None:
        if self.slider.value != self.value:  # else it follows what was typed, with more digits than a slider has
            self.value = self._of_slider()

    def _typed(self, _: Any) -> None:
        typed = self.field.value
        if typed == self._shown():
            return
        try:
            number = float(typed)
        except ValueError:
            number = math.nan
        mend = self._mend(number)
        if not mend:
            self.value = number
        self.field.value = self._shown()  # the number kept; also "0.5" for "0.50"
        self.message.value = mend and _warning(f"‘{html.escape(typed)}’ was not taken: {mend}.")


def _warning(words: str) -> str:
    return f'<span style="color: var(--jp-error-color1, #D32F2F)">{spoken(words)}</span>'
