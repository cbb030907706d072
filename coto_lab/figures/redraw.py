"""Redrawing: a figure that is already on the screen is changed in place."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from coto_lab.figures.style import size_titles


def redrawn(figure: Any, fresh: go.Figure) -> Any:
    """Give ``figure`` the traces, annotations, shapes, colours and y ranges of ``fresh``, in place; return ``figure``.

    Properties that are already equal are not sent to the browser again.

    Args:
        figure: a figure of the function that made ``fresh``, with the same traces; a ``FigureWidget`` redraws once.
        fresh: the figure that ``figure`` should look like.
    """
    size_titles(fresh)
    with figure.batch_update():
        for old, new in zip(figure.data, fresh.data, strict=True):
            gone = dict.fromkeys(key for key in old.to_plotly_json().keys() - new.to_plotly_json().keys() if key != "uid")
            old.update(gone | new.to_plotly_json(), overwrite=True)
        for old, new in zip(figure.select_yaxes(), fresh.select_yaxes(), strict=True):
            old.range = new.range
        for name in ("annotations", "shapes", "coloraxis"):
            figure.layout[name] = fresh.layout[name]
    return figure
