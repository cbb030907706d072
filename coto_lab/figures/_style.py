"""One look for all figures: the same method has the same colour and dash everywhere."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import torch
from torch import Tensor

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
    {"color": "#000000", "dash": "2px,6px", "symbol": "x", "pattern": "|"},
    {"color": "#999999", "dash": "12px,4px", "symbol": "hexagon", "pattern": "\\"},
    {"color": "#7F3C8D", "dash": "4px,2px", "symbol": "bowtie", "pattern": "/"},
)
GUESS_COLOR = "#666666"

# The default toolbar holds a button that uploads the chart to a cloud.
CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True}


def style(name: str, position: int = 0) -> dict[str, str]:
    """Colour, dash, marker symbol and bar pattern of a method; unknown names take spare ones by ``position``."""
    return STYLES.get(name) or _SPARE[position % len(_SPARE)]


def smooth(values: Tensor, window: int = 20) -> Tensor:
    """Running mean over the last ``window`` values, fewer at the start: float32 ``[T]`` from ``[T]``."""
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), values.double().cumsum(0)])
    ends = torch.arange(1, len(values) + 1)
    starts = (ends - window).clamp(min=0)
    return ((sums[ends] - sums[starts]) / (ends - starts)).float()


def guess_marker(name: str, x: float | str, value: float, look: Mapping[str, str]) -> go.Scatter:
    """A cross where the reader put a method: white, so that it shows on a bar of the method's own colour."""
    cross = {"symbol": "x", "size": 13, "color": "white", "line": {"width": 2.5, "color": look["color"]}}
    return go.Scatter(name=f"your guess, {name}", x=[x], y=[value], mode="markers", marker=cross)


def dress(figure: go.Figure, height: int) -> go.Figure:
    """The lab's template, height in pixels, margins and a legend above the plot; returns ``figure``."""
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 70, "r": 30, "t": 80, "b": 60},
        legend={"orientation": "h", "y": 1 + 30 / (height - 120), "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    return figure
