"""The update of one layer: its entries and its rank."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures.style import dress, stroke


def update_figure(updates: Mapping[str, Tensor], values: int = 12) -> go.Figure:
    """Updates ΔW of one layer as heat maps with one colour scale centred at 0, and beside the maps their singular values.

    Args:
        updates: name -> ΔW, ``[out, in]``, all of one shape; other matrices of the layer, such as its weight, can be given too.
        values: the number of singular values to show, from the largest.

    Raises:
        ValueError: there are no updates, or they have different shapes.
    """
    shapes = {tuple(update.shape) for update in updates.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(f"updates must be matrices [out, in] of one shape, at least one; got shapes {sorted(shapes)}.")
    names = list(updates)
    figure = make_subplots(
        rows=1,
        cols=len(names) + 1,
        column_widths=[*[1.0] * len(names), 1.2],
        subplot_titles=[*names, "singular values"],
        horizontal_spacing=0.07,
    )
    top = max(update.abs().max().item() for update in updates.values())
    for position, (name, update) in enumerate(updates.items()):
        heat = go.Heatmap(
            name=name,
            z=update.detach().float().numpy(),
            coloraxis="coloraxis",
            hovertemplate="output %{y}, input %{x}: %{z:.3f}<extra>%{fullData.name}</extra>",
        )
        figure.add_trace(heat, row=1, col=position + 1)
        figure.update_xaxes(title="input", constrain="domain", row=1, col=position + 1)
        axis = f"x{position + 1 if position else ''}"
        shape = {"scaleanchor": axis, "constrain": "domain", "constraintoward": "top"}  # square cells, directly below the title
        figure.update_yaxes(autorange="reversed", **shape, row=1, col=position + 1)
        singular = torch.linalg.svdvals(update.detach().double())[:values]
        marks = go.Scatter(
            name=name,
            x=list(range(1, len(singular) + 1)),
            y=singular.tolist(),
            mode="lines+markers",
            **stroke(name, position),
            hovertemplate="singular value %{x}: %{y:.3g}<extra>%{fullData.name}</extra>",
        )
        figure.add_trace(marks, row=1, col=len(names) + 1)
    figure.update_yaxes(title="output", row=1, col=1)
    figure.update_xaxes(title="number, from the largest", nticks=7, tickformat="d", row=1, col=len(names) + 1)
    figure.update_yaxes(rangemode="tozero", row=1, col=len(names) + 1)
    at = {"x": 0, "xanchor": "left", "yref": "container", "y": 0.02, "yanchor": "bottom"}  # below the axes of the maps
    bar = {"title": {"text": "entry", "side": "right"}, "orientation": "h", "thickness": 12, "len": 0.5} | at
    scale = {"colorscale": "PuOr_r", "cmin": -top, "cmax": top, "colorbar": bar}
    return dress(figure, height=450).update_layout(coloraxis=scale, margin={"b": 125})
