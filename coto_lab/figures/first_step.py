"""One step of several optimisers beside the gradient of the weight."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from coto_lab.figures.style import dress
from coto_lab.figures.theme import INK
from coto_lab.probes.first_step import FirstSteps

DESCENT = "gradient descent on W"


def first_step_figure(steps: FirstSteps) -> go.Figure:
    """How each optimiser moves the weight, all of length 1, beside the negative gradient; below, the cosine with that gradient.

    Args:
        steps: made from the same factors.
    """
    moves = {DESCENT: -steps.gradient} | steps.changes
    cosines = {DESCENT: 1.0} | {name: steps.cosine(name) for name in steps.changes}
    n = len(moves)
    figure = make_subplots(
        rows=2,
        cols=n,
        specs=[[{}] * n, [{"colspan": n}, *[None] * (n - 1)]],
        subplot_titles=list(moves),
        row_heights=[0.5, 0.5],
        vertical_spacing=0.14,
        horizontal_spacing=0.03,
    )
    drawn = {name: (move / move.norm()).float() for name, move in moves.items()}
    for column, (name, move) in enumerate(drawn.items(), start=1):
        heat = go.Heatmap(
            name=name,
            z=move.numpy(),
            coloraxis="coloraxis",
            hovertemplate="output %{y}, input %{x}: %{z:.3g}<extra>%{fullData.name}</extra>",
        )
        figure.add_trace(heat, row=1, col=column)
        figure.update_xaxes(constrain="domain", showticklabels=False, row=1, col=column)
        axis = f"x{column if column > 1 else ''}"
        square = {"scaleanchor": axis, "constrain": "domain", "constraintoward": "top"}
        figure.update_yaxes(range=[len(move) - 0.5, -0.5], showticklabels=False, **square, row=1, col=column)
    figure.update_yaxes(title="output", row=1, col=1)
    figure.update_xaxes(title="input", row=1)
    bars = go.Bar(
        name="cosine",
        x=list(cosines),
        y=list(cosines.values()),
        width=0.5,
        text=[f"{value:.2f}" for value in cosines.values()],
        textposition="outside",
        cliponaxis=False,
        marker={"color": [INK, *["#0072B2"] * (n - 1)]},
        hovertemplate="%{x}: %{y:.3f}<extra></extra>",
    )
    figure.add_trace(bars, row=2, col=1)
    figure.update_xaxes(title="", row=2, col=1)
    figure.update_yaxes(title="cosine with gradient descent", range=[min(0.0, *cosines.values()) * 1.2, 1.15], row=2, col=1)
    top = max(move.abs().max().item() for move in drawn.values())
    scale = {"colorscale": "PuOr_r", "cmin": -top / 2, "cmax": top / 2, "showscale": False}
    return dress(figure, height=480).update_layout(coloraxis=scale, showlegend=False, margin_t=40)
