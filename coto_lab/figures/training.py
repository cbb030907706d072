"""A training as it goes: loss and gradient balance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from coto_lab.figures._style import dress, smooth, style
from coto_lab.history import History
from coto_lab.probes.gradients import gradient_share


def training_figure(histories: Mapping[str, History], total_steps: int, figure: Any = None) -> Any:
    """Training loss of all runs on top; below, each run's gradient balance: a heat map block × step.

    Args:
        histories: method name -> history; they have the same gates.
        total_steps: steps of the whole training, the fixed width of the axes.
        figure: a figure from an earlier call, updated in place (a ``FigureWidget`` redraws); None makes one.
    """
    if figure is None:
        figure = _empty_training_figure(histories, total_steps)
    with figure.batch_update():
        for trace in figure.data:
            history = histories[trace.name]
            if trace.type == "scatter":
                kept = slice(None, None, max(1, total_steps // 400))  # at most 400 points a trace
                trace.update(x=torch.arange(len(history)).numpy()[kept], y=smooth(history.loss).numpy()[kept])
            else:
                share = gradient_share(history.grad_norm, total_steps)
                recorded = share.isfinite().all(0)  # the map grows; NaN is not JSON, and browsers get no reliable one
                centres = (torch.arange(len(recorded)) + 0.5) * total_steps / len(recorded)
                trace.update(x=centres[recorded].numpy(), z=share[:, recorded].numpy())
    return figure


def _empty_training_figure(histories: Mapping[str, History], total_steps: int) -> go.Figure:
    names = list(histories)
    gates = next(iter(histories.values())).gates
    figure = make_subplots(
        rows=2,
        cols=len(names),
        specs=[[{"colspan": len(names)}, *[None] * (len(names) - 1)], [{}] * len(names)],
        subplot_titles=["", *[f"{name}: share of the gradient norm" for name in names]],
        shared_yaxes=True,
        row_heights=[0.5, 0.5],
        vertical_spacing=0.2,
    )
    blocks = [name.rsplit(".", 1)[-1] for name in gates]
    for column, name in enumerate(names, start=1):
        look = style(name, column - 1)  # as in the other figures, which count from 0
        line = {"color": look["color"], "dash": look["dash"], "width": 2}
        figure.add_trace(go.Scatter(name=name, mode="lines", line=line, x=[], y=[]), row=1, col=1)
        heat = go.Heatmap(
            name=name,
            x=[],
            y=blocks,
            z=[],
            zmin=0,
            zmax=min(1.0, 3 / len(gates)),
            colorscale="Cividis",
            colorbar={"title": "share", "len": 0.42, "y": 0.2},
            showscale=column == len(names),
            hovertemplate="step %{x:.0f}, block %{y}: %{z:.2f}<extra></extra>",
        )
        figure.add_trace(heat, row=2, col=column)
        figure.update_xaxes(title="optimiser step", range=[0, total_steps], row=2, col=column)
    figure.update_yaxes(title="block", type="category", row=2, col=1)
    figure.update_xaxes(range=[0, total_steps], row=1, col=1)
    figure.update_yaxes(title="training loss, nats<br>(mean of 20 steps)", type="log", dtick=1, row=1, col=1)
    return dress(figure, height=560)
