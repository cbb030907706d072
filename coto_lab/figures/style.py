"""One look for all figures: the same method has the same colour and dash everywhere."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import torch
from torch import Tensor

from coto_lab.figures.theme import INK, magnification, themed

# Okabe-Ito colours, which colour-blind people can tell apart too. Dash, symbol and bar pattern are a second cue.
STYLES = {
    "LoRA": {"color": "#0072B2", "dash": "dash", "symbol": "circle", "pattern": "/"},
    "dropout": {"color": "#CC79A7", "dash": "dashdot", "symbol": "cross", "pattern": "."},
    "stochastic depth": {"color": "#009E73", "dash": "dot", "symbol": "square", "pattern": "x"},
    "CoTo": {"color": "#D55E00", "dash": "solid", "symbol": "diamond", "pattern": ""},
    "CoTo sine": {"color": "#56B4E9", "dash": "longdash", "symbol": "star", "pattern": "-"},
    "CoTo exponential": {"color": "#E69F00", "dash": "longdashdot", "symbol": "triangle-up", "pattern": "+"},
}
_SPARE = (
    {"color": INK, "dash": "2px,6px", "symbol": "x", "pattern": "|"},
    {"color": "#999999", "dash": "12px,4px", "symbol": "hexagon", "pattern": "\\"},
    {"color": "#A65FB5", "dash": "4px,2px", "symbol": "bowtie", "pattern": "/"},
)
GUESS_COLOR = "#808080"

# Plotly's default toolbar has a button that uploads the chart to a cloud, and so many other buttons that it covers the legend.
CONFIG = {
    "displaylogo": False,
    "showSendToCloud": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
}


def style(name: str, position: int = 0) -> dict[str, str]:
    """Colour, dash, marker symbol and bar pattern of a method; for unknown names ``position`` chooses a spare style."""
    return STYLES.get(name) or _SPARE[position % len(_SPARE)]


def stroke(name: str, position: int = 0) -> dict[str, Any]:
    """Line and marker of a method's curve. Dashed lines lie over wider solid lines, so that both are seen if they coincide."""
    look = style(name, position)
    solid = look["dash"] == "solid"
    return {
        "line": {"color": look["color"], "dash": look["dash"], "width": 4 if solid else 2},
        "marker": {"symbol": look["symbol"], "color": look["color"], "size": 8},
        "zorder": 1 if solid else 2,
    }


def smooth(values: Tensor, window: int = 20) -> Tensor:
    """Running mean over the last ``window`` values (over fewer at the start): float32 ``[T]`` from ``[T]``."""
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), values.double().cumsum(0)])
    ends = torch.arange(1, len(values) + 1)
    starts = (ends - window).clamp(min=0)
    return ((sums[ends] - sums[starts]) / (ends - starts)).float()


def guess_marker(name: str, x: float | str, value: float, color: str = "white") -> go.Scatter:
    """A cross at the reader's guess for a method. Its black edge is visible on a bar or a curve of any colour.

    If the crosses of several methods can be at one place, give each the ``color`` of its method.
    """
    cross = {"symbol": "x", "size": 14, "color": color, "line": {"width": 2, "color": "black"}}
    return go.Scatter(name=f"your guess, {name}", x=[x], y=[value], mode="markers", marker=cross, zorder=3)


def size_titles(figure: go.Figure) -> go.Figure:
    """``figure`` with panel titles in the size of its other text; `make_subplots` always gives them 16 pixels."""
    return figure.update_annotations(font_size=round(13 * magnification()))


def dress(figure: go.Figure, height: int) -> go.Figure:
    """Set the lab's template, the height in pixels, the margins, and a legend above the plot; return ``figure``.

    The legend is on the left, because the toolbar is on the right. With large letters the height grows half as much as they do.
    """
    factor = magnification()
    height = round(height * (1 + factor) / 2)
    legend_gap = 24 * factor  # room for a panel title between plot and legend
    size_titles(themed(figure)).update_layout(
        height=height,
        margin={"l": 70, "r": 30, "t": round(64 * factor), "b": 60},
        legend={"orientation": "h", "y": 1 + legend_gap / (height - 124 * factor), "yanchor": "bottom", "x": 0},
    )
    return figure
