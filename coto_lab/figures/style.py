"""One look for all figures: the same method has the same colour and dash everywhere."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import torch
from torch import Tensor

from coto_lab.figures.theme import INK, magnification, themed

# Okabe-Ito colours, told apart by the colour-blind too; dash, symbol and bar pattern are the second cue.
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

# The default toolbar holds a button that uploads the chart to a cloud, and so many others that it covers the legend.
CONFIG = {
    "displaylogo": False,
    "showSendToCloud": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
}


def style(name: str, position: int = 0) -> dict[str, str]:
    """Colour, dash, marker symbol and bar pattern of a method; unknown names take spare ones by ``position``."""
    return STYLES.get(name) or _SPARE[position % len(_SPARE)]


def stroke(name: str, position: int = 0) -> dict[str, Any]:
    """Line and marker of a method's curve. Dashes lie over a wider solid line, so that curves on one another are both seen."""
    look = style(name, position)
    solid = look["dash"] == "solid"
    return {
        "line": {"color": look["color"], "dash": look["dash"], "width": 4 if solid else 2},
        "marker": {"symbol": look["symbol"], "color": look["color"], "size": 8},
        "zorder": 1 if solid else 2,
    }


def smooth(values: Tensor, window: int = 20) -> Tensor:
    """Running mean over the last ``window`` values, fewer at the start: float32 ``[T]`` from ``[T]``."""
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), values.double().cumsum(0)])
    ends = torch.arange(1, len(values) + 1)
    starts = (ends - window).clamp(min=0)
    return ((sums[ends] - sums[starts]) / (ends - starts)).float()


def guess_marker(name: str, x: float | str, value: float, color: str = "white") -> go.Scatter:
    """A cross where the reader put a method: with its black edge it shows on a bar or a curve of any colour.

    Where one place may hold the crosses of several methods, give each the ``color`` of its method.
    """
    cross = {"symbol": "x", "size": 14, "color": color, "line": {"width": 2, "color": "black"}}
    return go.Scatter(name=f"your guess, {name}", x=[x], y=[value], mode="markers", marker=cross, zorder=3)


def size_titles(figure: go.Figure) -> go.Figure:
    """``figure`` with titles of panels in the size of its other words; `make_subplots` gives them 16 pixels."""
    return figure.update_annotations(font_size=round(13 * magnification()))


def dress(figure: go.Figure, height: int) -> go.Figure:
    """The lab's template, height in pixels, margins and a legend above the plot; returns ``figure``.

    The legend is on the left, away from the toolbar. With large letters the height grows, by half as much.
    """
    factor = magnification()
    height = round(height * (1 + factor) / 2)
    legend_gap = 24 * factor  # above the plot: room for a title of a panel
    size_titles(themed(figure)).update_layout(
        height=height,
        margin={"l": 70, "r": 30, "t": round(64 * factor), "b": 60},
        legend={"orientation": "h", "y": 1 + legend_gap / (height - 124 * factor), "yanchor": "bottom", "x": 0},
    )
    return figure
