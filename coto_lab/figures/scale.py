"""Finished adapters whose updates ΔW are multiplied by a factor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures.redraw import redrawn
from coto_lab.figures.style import GUESS_COLOR, dress, stroke


def scale_figure(
    factors: Tensor,
    accuracy: Mapping[str, Tensor],
    at: float,
    marked: Mapping[str, float],
    updates: Mapping[str, Tensor],
    figure: Any = None,
) -> Any:
    """Accuracy against the factor on ΔW, one curve per method, and the scaled update of one layer as heat maps.

    Args:
        factors: factors of the curves, ``[F]``, in rising order.
        accuracy: method name -> share of right answers ``[F]``.
        at: the marked factor, anywhere between the first and the last.
        marked: method name -> accuracy at the marked factor.
        updates: method name -> ΔW of the layer as it was trained, ``[out, in]``. The colour scale ends at the largest absolute
            entry and is the same at every factor, so that a map grows darker with the factor; above 1 the largest entries all
            have the last colour.
        figure: a figure of an earlier call with the same methods, updated in place (a ``FigureWidget`` redraws); None makes a
            new one.
    """
    maps = len(updates)
    fresh = make_subplots(
        rows=1,
        cols=1 + maps,
        column_widths=[1.3, *[1.0] * maps],
        subplot_titles=["test accuracy", *(f"{name}: {at:g} · ΔW" for name in updates)],
        horizontal_spacing=0.08,
    )
    for position, name in enumerate(accuracy):
        look = stroke(name, position)
        curve = go.Scatter(
            name=name,
            legendgroup=name,
            x=factors.numpy(),
            y=(100 * accuracy[name]).numpy(),
            mode="lines",
            line=look["line"],
            zorder=look["zorder"],
            hovertemplate="%{x:.3g} · ΔW: %{y:.1f}%<extra>%{fullData.name}</extra>",
        )
        mark = go.Scatter(
            name=f"{name}, here",
            legendgroup=name,
            showlegend=False,
            x=[at],
            y=[100 * marked[name]],
            mode="markers",
            marker=look["marker"] | {"size": max(18 - 6 * position, 6), "line": {"color": "white", "width": 1}},
            zorder=3 + position,  # if two marks coincide, the first is larger and visible around the second
            hovertemplate="%{x:.3g} · ΔW: %{y:.1f}%<extra>%{fullData.name}</extra>",
        )
        fresh.add_traces([curve, mark], rows=1, cols=1)
    for position, (name, update) in enumerate(updates.items()):
        heat = go.Heatmap(
            name=name,
            z=at * update.detach().float().numpy(),
            coloraxis="coloraxis",
            hovertemplate="output %{y}, input %{x}: %{z:.3f}<extra>%{fullData.name}</extra>",
        )
        fresh.add_trace(heat, row=1, col=2 + position)
        axis = f"x{2 + position}"
        fresh.update_xaxes(title="input", constrain="domain", row=1, col=2 + position)
        square = {"scaleanchor": axis, "constrain": "domain", "constraintoward": "top"}
        fresh.update_yaxes(autorange="reversed", **square, row=1, col=2 + position)
    fresh.add_vline(x=at, line={"color": GUESS_COLOR, "dash": "dot"}, row=1, col=1)
    top = max(update.abs().max().item() for update in updates.values())
    scale = {"colorscale": "PuOr_r", "cmin": -top, "cmax": top, "colorbar": {"title": "entry", "thickness": 12}}
    fresh.update_layout(coloraxis=scale)
    fresh.update_xaxes(title="factor on ΔW", range=[factors[0].item() - 0.05, factors[-1].item() + 0.05], row=1, col=1)
    fresh.update_yaxes(title="accuracy, %", range=[0, 101], row=1, col=1)
    if figure is not None:
        return redrawn(figure, fresh)
    return dress(fresh, height=400)
