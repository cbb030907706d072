"""Mean and spread of a method as a line over a band."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from torch import Tensor

from coto_lab.figures.style import stroke, style

SPREAD_FROM = 3  # with fewer values a standard deviation means little, so each value is drawn instead


def add_bands(
    figure: go.Figure,
    name: str,
    x: Sequence[float],
    values: Tensor,
    position: int,
    hover: str,
    row: int = 1,
    column: int = 1,
    label: str = "",
) -> None:
    """Add a band of ±1 sample standard deviation and over it the line of the means; two values are dots without a band.

    Args:
        figure: a figure of ``make_subplots``.
        name: name of the method.
        x: the K places of the values.
        values: ``[S, K]``.
        position: position of the method, which chooses a style for unknown methods.
        hover: the text for a point, with ``%{x}`` and ``%{y}``; the standard deviation is added to it.
        row, column: the panel; the first column has the legend.
        label: the method's entry in the legend; by default its name.
    """
    mean = values.mean(0)
    shared = {"legendgroup": name, "showlegend": False}
    line = go.Scatter(
        name=label or name,
        x=list(x),
        y=mean.tolist(),
        mode="lines+markers",
        hovertemplate=hover,
        **shared | {"showlegend": column == 1},
        **stroke(name, position),
    )
    color = style(name, position)["color"]
    if len(values) >= SPREAD_FROM:
        spread = values.std(0)
        line.update(customdata=spread.tolist(), hovertemplate=f"{hover} (±1 standard deviation: %{{customdata:.2g}})")
        band = go.Scatter(
            name=f"{name}, ±1 standard deviation",
            x=[*x, *reversed(x)],
            y=(mean + spread).tolist() + (mean - spread).flip(0).tolist(),
            fill="toself",
            fillcolor=color,
            opacity=0.18,
            mode="none",
            hoverinfo="skip",
            **shared,
        )
        figure.add_trace(band, row=row, col=column)
    elif len(values) > 1:
        figure.add_trace(single_values(name, position, x, values, hover, **shared), row=row, col=column)
    figure.add_trace(line, row=row, col=column)


def single_values(
    name: str, position: int, x: Sequence[float | str], values: Tensor, hover: str, **options: object
) -> go.Scatter:
    """One dot for each of the values ``[S, K]``, which lie at K places."""
    look = style(name, position)
    return go.Scatter(
        name=f"{name}, single values",
        x=[*x] * len(values),
        y=values.flatten().tolist(),
        mode="markers",
        marker={"color": "white", "symbol": look["symbol"], "size": 7, "line": {"color": look["color"], "width": 1.5}},
        hovertemplate=hover,
        zorder=3,
        **options,
    )
