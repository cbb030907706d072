"""Where the adapters of several tasks get into each other's way, block by block."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures.shapley import short_names
from coto_lab.figures.style import dress, stroke
from coto_lab.figures.theme import INK
from coto_lab.probes.conflicts import Conflicts

_TITLES = (
    "length ‖ΔW‖, mean of the tasks",
    "cosine of two tasks, mean of the pairs",
    "large entries with opposite signs",
    "fusion: cross terms, times the own part",
)


def conflicts_figure(found: Mapping[str, Conflicts]) -> go.Figure:
    """Four panels over the blocks, one curve for each way of training.

    Lengths of the updates; how alike the updates of two tasks are; how often two tasks pull one entry in opposite directions
    (dotted: the half that chance gives); and how large the cross terms of a fusion of all are, beside the adapters' own part.

    Args:
        found: ``"LoRA"`` or ``"CoTo"`` -> the conflicts of its adapters, all over the same blocks.
    """
    figure = make_subplots(rows=2, cols=2, subplot_titles=_TITLES, horizontal_spacing=0.12, vertical_spacing=0.2)
    for position, (way, own) in enumerate(found.items()):
        panels = [
            own.norm.mean(1),
            own.of_pairs(own.cosine).mean(1),
            100 * own.of_pairs(own.opposed).nanmean(1),
            own.cross / own.own,
        ]
        for i, values in enumerate(panels):
            row, column = divmod(i, 2)
            figure.add_trace(_curve(way, position, own, values, first=i == 0), row=row + 1, col=column + 1)
    ends = [min(curve.y) for curve in figure.data], [max(curve.y) for curve in figure.data]
    for i, unit in enumerate(("length", "cosine", "%", "times")):
        row, column = divmod(i, 2)
        low, high = min(ends[0][i::4]), max(ends[1][i::4])
        span = [min(low, 0) * 1.1, max(high, 0) * 1.1] if unit != "%" else [0, 103]
        figure.update_yaxes(title=unit, range=span, row=row + 1, col=column + 1)
    figure.add_hline(y=50, line={"color": INK, "width": 1, "dash": "dot"}, row=2, col=1)
    figure.update_xaxes(title={"text": "block", "standoff": 4}, type="category")
    return dress(figure, height=560)


def _curve(way: str, position: int, found: Conflicts, values: Tensor, first: bool) -> go.Scatter:
    return go.Scatter(
        name=way,
        legendgroup=way,
        showlegend=first,
        x=short_names(list(found.blocks)),
        y=values.tolist(),
        mode="lines+markers",
        hovertemplate=f"block %{{x}}: %{{y:.3g}}<extra>{way}</extra>",
        **stroke(way, position),
    )
