"""Mean and spread of a method against something, as a line over a band."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from torch import Tensor

from coto_lab.figures._style import style


def add_bands(
    figure: go.Figure, name: str, x: Sequence[float], values: Tensor, position: int, hover: str, row: int = 1, column: int = 1
) -> None:
    """Add a band of ±1 sample standard deviation, and over it the line of the means; one value makes a line only.

    Args:
        figure: made by ``make_subplots``.
        name: of the method.
        x: where the values lie, K of them.
        values: ``[S, K]``.
        position: of the method, for its style.
        hover: what is shown of a point, with ``%{x}``, ``%{y}`` and the deviation, ``%{customdata}``.
        row, column: the panel; the first column has the legend.
    """
    look = style(name, position)
    mean = values.mean(0)
    spread = values.std(0) if len(values) > 1 else mean * 0
    if len(values) > 1:
        band = go.Scatter(
            name=f"{name}, ±1 standard deviation",
            legendgroup=name,
            showlegend=False,
            x=[*x, *reversed(x)],
            y=(mean + spread).tolist() + (mean - spread).flip(0).tolist(),
            fill="toself",
            fillcolor=look["color"],
            opacity=0.18,
            mode="none",
            hoverinfo="skip",
        )
        figure.add_trace(band, row=row, col=column)
    line = go.Scatter(
        name=name,
        legendgroup=name,
        showlegend=column == 1,
        x=list(x),
        y=mean.tolist(),
        mode="lines+markers",
        line={"color": look["color"], "dash": look["dash"], "width": 2.5},
        marker={"symbol": look["symbol"], "size": 8},
        customdata=spread.tolist(),
        hovertemplate=hover,
    )
    figure.add_trace(line, row=row, col=column)
