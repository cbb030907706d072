"""The line below the controls that says what to enter into a field."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

from coto_lab.widgets.field import NumberField
from coto_lab.widgets.view import spoken


class Message(widgets.HTML):
    """A line that says what to enter when a reader typed something invalid into a field; an empty line keeps its height.

    The line becomes empty when a valid number is typed or when another control is used. The field then shows the number in
    use.

    Args:
        controls: all controls of a view: fields, buttons, choices.
    """

    def __init__(self, controls: Sequence[widgets.Widget]):
        super().__init__(layout={"height": "24px", "margin": "0 2px"})
        self.add_class("coto-message")
        self._fields = [control for control in controls if isinstance(control, NumberField)]
        for control in controls:
            if isinstance(control, widgets.Button):
                control.on_click(lambda _: self._restore_others(None))
            else:
                control.observe(lambda change: self._restore_others(change["owner"]), "value")
        for field in self._fields:
            field.observe(self._show, "problem")

    def say(self, words: str) -> None:
        """Show another message until a control is used."""
        self.value = f'<span style="color: var(--jp-error-color1, #D32F2F)">{spoken(html.escape(words))}</span>'

    def _restore_others(self, used: Any) -> None:
        for field in self._fields:
            if field is not used:
                field.restore()
        if not any(field.problem for field in self._fields):
            self.value = ""

    def _show(self, change: Any) -> None:
        field = change["owner"]
        if field.problem:
            self._restore_others(field)
            self.say(f"{field.label}: {field.problem}.")
        else:
            self.value = ""
