"""Figures of what a schedule does to a training, drawn before the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures.style import GUESS_COLOR, dress, smooth, stroke, style
from coto_lab.figures.theme import CLOSED, INK
from coto_lab.gating.coto import CoTo, expected_open, probabilities, tilted
from coto_lab.gating.schedules import Schedule
from coto_lab.probes.cost import spared

_COLOR = style("CoTo")["color"]
P, EXPECTED, DRAWN, GATES = "p(t)", "open blocks, expected", "open blocks, drawn (mean of 20 steps)", "gates"
TRAINED, AVERAGE, SPARED = "trained", "expected share", "spared"


def ramp_figure(schedules: Mapping[str, Schedule]) -> go.Figure:
    """p of several schedules over progress: name -> schedule; a name that is a method has the method's colour."""
    progress = np.linspace(0, 1, 201)
    figure = go.Figure()
    for position, (name, schedule) in enumerate(schedules.items()):
        y = [schedule(x) for x in progress.tolist()]
        figure.add_trace(go.Scatter(name=name, x=progress, y=y, mode="lines", **stroke(name, position)))
    figure.update_xaxes(title="progress: share of the training that is over", range=[0, 1])
    figure.update_yaxes(title="activation probability p", range=[0, 1.05])
    return dress(figure, height=360)


def schedule_figure(coto: CoTo) -> go.Figure:
    """The plan of a CoTo training: above p(t) and the number of open blocks, below the draws of every gate."""
    n = len(coto.gates)
    figure = make_subplots(
        rows=2, cols=1, specs=[[{"secondary_y": True}], [{}]], vertical_spacing=0.08, row_heights=[0.45, 0.55]
    )
    _add_training(figure)
    p = probabilities(coto.schedule, coto.total_steps)
    names = [name.rsplit(".", 1)[-1] for name in coto.gates.names]
    _fill_training(figure, p, expected_open(n, tilted(p[:, None], n, coto.tilt)), coto.masks(), names)
    return dress(figure, height=430)


def plan_figure(
    schedule: Schedule, masks: Tensor, time_saved: float | None = None, figure: Any = None, *, towers: Tensor | None = None
) -> Any:
    """As `schedule_figure`, for a schedule without a model; on the right the saved work, and how often each block trains.

    Args:
        schedule: p over progress.
        masks: the masks that the schedule draws, ``BoolTensor [T, n_blocks]`` (`coto.training_masks`).
        time_saved: predicted share of the time that is saved (`Cost.saving`), 0.1 = 10%; with None it is left out.
        figure: a figure of an earlier call, updated in place (a ``FigureWidget`` redraws); None makes a new one.
        towers: of each block, as in `Cost`.
    """
    if figure is None:
        figure = _empty_plan_figure()
    n_steps, n = masks.shape
    p = probabilities(schedule, n_steps)
    expected = expected_open(n, p[:, None])
    blocks = [str(block) for block in range(n)]
    adapter, backward = spared(masks, towers)
    saved = {"adapters": adapter, "backward": backward} | ({} if time_saved is None else {"time": time_saved})
    traces = {trace.name: trace for trace in figure.data}
    with figure.batch_update():
        _fill_training(figure, p, expected, masks, blocks)
        traces[TRAINED].update(x=masks.float().mean(0).numpy(), y=blocks)
        traces[AVERAGE].update(x=[expected.mean() / n] * 2, y=[blocks[0], blocks[-1]])
        traces[SPARED].update(x=list(saved.values()), y=list(saved), text=[f"{share:z.0%}" for share in saved.values()])
    return figure


def _empty_plan_figure() -> go.Figure:
    figure = make_subplots(
        rows=2, cols=2, specs=[[{"secondary_y": True}, {}], [{}, {}]], column_widths=[0.72, 0.28], row_heights=[0.45, 0.55],
        subplot_titles=["", "saved against plain LoRA", "", "how often a block trains"],
        horizontal_spacing=0.2, vertical_spacing=0.16,
    )  # fmt: skip
    _add_training(figure)
    bar = {"orientation": "h", "showlegend": False, "marker": {"color": GUESS_COLOR}, "textposition": "outside"}
    figure.add_trace(go.Bar(name=SPARED, hovertemplate="%{y}: %{x:.1%}<extra></extra>", **bar), row=1, col=2)
    bar["marker"] = {"color": _COLOR}
    figure.add_trace(
        go.Bar(name=TRAINED, hovertemplate="block %{y}: %{x:.1%} of the steps<extra></extra>", **bar), row=2, col=2
    )
    line = {"color": INK, "dash": "dot", "width": 2}
    figure.add_trace(go.Scatter(name=AVERAGE, mode="lines", line=line, showlegend=False), row=2, col=2)
    figure.update_xaxes(range=[0, 1.2], tickvals=[0, 0.5, 1], tickformat=".0%", col=2)
    figure.update_xaxes(title="share of the steps", row=2, col=2)
    figure.update_yaxes(autorange="reversed", row=1, col=2)
    figure.update_yaxes(title="block", type="category", row=2, col=2)
    return dress(figure, height=480)


def _add_training(figure: go.Figure) -> None:
    """Add the empty first column: curves above and gates below, over the optimiser steps."""
    looks = {
        DRAWN: {"color": "#BBBBBB", "width": 1.5},
        EXPECTED: {"color": INK, "width": 2, "dash": "dot"},
        P: {"color": _COLOR, "width": 4},
    }
    for name, line in looks.items():
        figure.add_trace(go.Scatter(name=name, mode="lines", line=line), row=1, col=1, secondary_y=name != P)
    raster = go.Heatmap(
        name=GATES, zmin=0, zmax=1, colorscale=[[0, CLOSED], [1, _COLOR]], showscale=False,
        hovertemplate="step %{x}, block %{y}: %{z}<extra>1 = open</extra>",
    )  # fmt: skip
    figure.add_trace(raster, row=2, col=1)
    figure.update_yaxes(title="probability p", range=[0, 1.05], row=1, col=1, secondary_y=False)
    figure.update_yaxes(title="open blocks", showgrid=False, row=1, col=1, secondary_y=True)
    figure.update_yaxes(title="block (coloured: it trains)", type="category", row=2, col=1)
    figure.update_xaxes(title="optimiser step", row=2, col=1)


def _fill_training(figure: Any, p: np.ndarray, expected: np.ndarray, masks: Tensor, names: Sequence[str]) -> None:
    n_steps, n = masks.shape
    x = np.arange(n_steps)
    lines = {P: p, EXPECTED: expected, DRAWN: smooth(masks.sum(1)).numpy()}
    for trace in figure.data:
        if trace.name in lines:
            trace.update(x=x, y=lines[trace.name].astype(np.float32))
        elif trace.name == GATES:
            trace.update(x=x, y=names, z=masks.T.contiguous().to(torch.uint8).numpy())
    figure.update_xaxes(range=[-0.5, n_steps - 0.5], col=1)
    figure.update_yaxes(range=[0, 1.05 * n], row=1, col=1, secondary_y=True)  # so that the curves of n·p and p coincide
