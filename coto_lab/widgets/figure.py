"""A figure that every view shows in its present state: after a reload of the page, in a reopened tab, in a second view."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go
import traitlets
from plotly.basedatatypes import Undefined
from plotly.serializers import custom_serializers

from coto_lab.widgets.late import answer_late, code

_WHOLE = ["_widget_data", "_widget_layout"]  # plotly's names of the whole figure


class Library(widgets.Widget):
    """Plotly's JavaScript, 5 MB, sent to the page once."""

    source = traitlets.Unicode(str(go.FigureWidget._esm)).tag(sync=True)

    _latest: Library | None = None

    @classmethod
    def open_one(cls) -> Library:
        """The library that all figures of this kernel share."""
        if cls._latest is None or cls._latest.comm is None:  # there is no figure yet, or all widgets were closed
            cls._latest = cls()
        return cls._latest


class LiveFigure(go.FigureWidget):
    """A ``FigureWidget`` that sends its whole present state to new views; plotly's own widget sends its first state.

    Args:
        figure: the figure that the widget shows at first.
    """

    _esm = code("figure.js")
    _css = """
.coto-view.jupyter-widgets-disconnected::before {
    content: "The kernel was restarted or has ended, so these controls do nothing. Run the cells above again, and this one.";
    display: block; margin: 4px; padding: 4px 8px; font: inherit; color: inherit; border: 1px solid #D32F2F;
}
.coto-view .jupyter-widgets-disconnected::before { display: none; }
"""
    _library = traitlets.Instance(Library).tag(sync=True, **widgets.widget_serialization)

    @traitlets.default("_library")
    def _open_library(self) -> Library:
        return Library.open_one()

    def __init__(self, figure: go.Figure):
        super().__init__(figure)
        answer_late(self, _WHOLE)

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """The state, for which a reloaded page asks, with all changes; plotly does not write changes into its two traits."""
        state = super().get_state(key, drop_defaults)
        if state.keys() & {"_widget_data", "_widget_layout"} and hasattr(self, "_layout_obj"):  # missing in the constructor
            now = {"_widget_data": self._data, "_widget_layout": self._layout_obj._props}
            to_json = custom_serializers["to_json"]
            state |= {name: to_json(value, self) for name, value in now.items() if name in state}
        return state

    def send_whole(self) -> None:
        """Send the whole figure to the page, which makes new views from the state that it received."""
        self.send_state(_WHOLE)

    def _send_update_msg(
        self, restyle_data: dict[str, Any], relayout_data: dict[str, Any], trace_indexes: Any = None, source_view_id: Any = None
    ) -> None:
        # A batch that changes an attribute of one trace marks this attribute as undefined for the other traces. Existing views
        # then keep the attribute, but the page's model, from which new views are made, loses it. So its value is sent instead.
        traces = self._normalize_trace_indexes(trace_indexes)

        def defined(path: str, values: Any) -> Any:
            if not isinstance(values, list) or len(values) != len(traces):
                return values
            return [
                self._get(trace, path) if value is Undefined else value for trace, value in zip(traces, values, strict=True)
            ]

        whole = {path: defined(path, values) for path, values in restyle_data.items()}
        super()._send_update_msg(whole, relayout_data, traces, source_view_id)

    def _get(self, trace: int, path: str) -> Any:
        """An attribute of a trace; None if the trace does not have this attribute."""
        value = self._data[trace]
        for part in self._str_to_dict_path(path):
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value
