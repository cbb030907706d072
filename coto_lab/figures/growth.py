"""Loss, gradient and update of trainings, one below the other, to see which of the three changes first."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures.style import dress, style
from coto_lab.probes.growth import Growth


def growth_figure(found: Mapping[str, Growth]) -> go.Figure:
    """Training loss, gradient norm (log axis) and mean length of the blocks' updates, step by step.

    Args:
        found: method name -> growth.
    """
    titles = ["length of ΔW, mean of the blocks", "gradient norm (log axis)", "training loss, nats"]
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.09)
    for position, (name, own) in enumerate(found.items()):
        look = style(name, position)
        curves: list[Tensor] = [own.mean_length, own.grad_norm, own.history.loss]
        for row, values in enumerate(curves, start=1):
            line = go.Scatter(
                name=name,
                legendgroup=name,
                showlegend=row == 1,
                y=values.tolist(),
                line={"color": look["color"], "dash": look["dash"], "width": 2},
                hovertemplate=f"step %{{x}}: %{{y:.3g}}<extra>{name}</extra>",
            )
            figure.add_trace(line, row=row, col=1)
    figure.update_yaxes(type="log", row=2)
    figure.update_xaxes(title="optimiser step", row=3)
    return dress(figure, height=560)
