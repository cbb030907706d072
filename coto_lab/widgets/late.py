"""Widgets of anywidget that keep listening in a page that took long to show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets as widgets

_FOLDER = Path(__file__).parent


def code(*names: str) -> str:
    """JavaScript files of this folder in one text, after ``late.js``, whose ``catchUp`` they call."""
    return "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in ("late.js", *names))


def answer_late(widget: widgets.Widget, parts: list[str]) -> None:
    """Send these parts of the widget's state whenever a page says that it was too late for messages that were sent before."""

    def answer(_: Any, content: Any, __: Any) -> None:
        if content == "late":
            widget.send_state(parts)

    widget.on_msg(answer)
