"""The common part of all views: one figure, one sentence that says what it shows, and a static form without widgets."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go

from coto_lab.figures import CONFIG
from coto_lab.notebook import where
from coto_lab.widgets.figure import LiveFigure
from coto_lab.widgets.kernel import one_thread
from coto_lab.widgets.look import Look


class View(widgets.VBox):
    """Controls above, a figure in the middle, a sentence below that says in words what the figure shows.

    Where widgets do not work (in a headless kernel, or when a page is built), a static figure and the sentence are shown.

    Args:
        figure: drawn once; views change it in place.
        controls: the widgets above the figure.
        css_class: ``"coto-..."``, by which tests and style sheets find the view.

    Attributes:
        figure: a ``FigureWidget`` in its present state.
        text: the sentence.
    """

    def __init__(self, figure: go.Figure, controls: Sequence[widgets.Widget], css_class: str):
        one_thread()
        self.figure = LiveFigure(figure)
        self.figure._config = self.figure._config | CONFIG
        # The figure is as wide as the notebook. This is set when the figure is displayed, because plotly draws it before its
        # element has a width.
        self.figure.observe(lambda _: self.figure.update_layout(autosize=True), "_view_count")
        self.text = widgets.HTML()
        frame = widgets.Box([self.figure])
        frame.add_class("coto-figure")
        super().__init__([Look(), *controls, frame, self.text])
        self.add_class("coto-view")
        self.add_class(css_class)

    def say(self, sentence: str) -> None:
        """Change the sentence; screen readers read the new sentence out."""
        self.text.value = spoken(sentence)

    def still(self) -> go.Figure:
        """A static copy of the figure in its present state."""
        return go.Figure(self.figure.to_dict())

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if where().live:
            self.figure.send_whole()
            return super()._repr_mimebundle_(**kwargs)
        from IPython.display import display

        display(self.still())
        return {"text/plain": plain(self.text.value)}

    if not hasattr(widgets.VBox, "_repr_mimebundle_"):  # ipywidgets 7 (Colab) displays by a method of another name

        def _ipython_display_(self, **kwargs: Any) -> None:
            from IPython.display import display

            if where().live:
                self.figure.send_whole()
                super()._ipython_display_(**kwargs)
            else:
                display(self.still())
                display({"text/plain": plain(self.text.value)}, raw=True)


def spoken(sentence: str) -> str:
    """HTML of a sentence that screen readers read out when it changes."""
    return f'<span aria-live="polite">{sentence}</span>'


def plain(text: str) -> str:
    """The text of what `spoken` returned, without HTML."""
    return html.unescape(re.sub(r"<[^>]+>", "", text))
