"""A running training: loss, accuracy, p(t), gates and gradient balance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from coto_lab.figures.style import dress, smooth, stroke, style
from coto_lab.figures.theme import CLOSED
from coto_lab.probes.gradients import gradient_share
from coto_lab.training.history import History

LOSS, ACCURACY, P, OPEN, GATES, BALANCE = "loss", "accuracy", "p", "open blocks", "gates", "gradient balance"
_POINTS = 400  # the largest number of points of a curve

Accuracy = Mapping[str, Mapping[int, float]]


def training_figure(
    histories: Mapping[str, History], total_steps: int, accuracy: Accuracy | None = None, figure: Any = None
) -> Any:
    """Training loss, test accuracy and p(t) with the share of open blocks above; gates and gradient balance below.

    The gates are those of the last step. Each method's gradient balance is a heat map block × step. The ``meta`` of a trace
    says what it shows, and its ``name`` is the method.

    Args:
        histories: method name -> history; all have the same gates.
        total_steps: steps of the whole training, which are the fixed width of the axes.
        accuracy: method name -> {number of steps done: share of test examples classified correctly}.
        figure: a figure of an earlier call, updated in place (a ``FigureWidget`` redraws); None makes a new one.
    """
    if figure is None:
        figure = _empty_figure(histories, total_steps)
    curves = {name: _curves(history, (accuracy or {}).get(name, {})) for name, history in histories.items()}
    with figure.batch_update():
        for trace in figure.data:
            if trace.meta == GATES:
                _show_gates(trace, histories)
            elif trace.meta == BALANCE:
                _show_balance(trace, histories[trace.name], total_steps)
            else:
                x, y = curves[trace.name][trace.meta]
                trace.update(x=x, y=y.astype(np.float32))
    return figure


def _curves(history: History, accuracy: Mapping[int, float]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    n = len(history)
    shown = np.unique(np.linspace(0, n - 1, min(n, _POINTS)).round().astype(int))  # with the first and the last step
    return {
        LOSS: (shown, smooth(history.loss).numpy()[shown]),
        P: (shown, history.p.numpy()[shown]),
        OPEN: (shown, smooth(history.mask.double().mean(1)).numpy()[shown]),
        ACCURACY: (np.array([*accuracy]), 100 * np.array([*accuracy.values()])),
    }


def _show_gates(trace: Any, histories: Mapping[str, History]) -> None:
    """One row per method that took a step: 0 for a shut gate, the method's place on the colour scale for an open one."""
    masks = {name: history.mask[-1].numpy() for name, history in histories.items() if len(history)}
    places = np.array([1 + list(histories).index(name) for name in masks], dtype=np.float32)[:, None]
    trace.update(
        y=list(masks),
        z=np.stack([*masks.values()]) * places / len(histories) if masks else [],
        text=[["●" if is_open else "" for is_open in mask] for mask in masks.values()],
    )


def _show_balance(trace: Any, history: History, total_steps: int) -> None:
    share = gradient_share(history.grad_norm, total_steps)
    recorded = share.isfinite().all(0)  # bins without steps are left out, because NaN is not JSON
    centres = (torch.arange(len(recorded)) + 0.5) * total_steps / len(recorded)
    trace.update(x=centres[recorded].numpy(), z=share[:, recorded].numpy())


def _empty_figure(histories: Mapping[str, History], total_steps: int) -> go.Figure:
    names = list(histories)
    blocks = [gate.rsplit(".", 1)[-1] for gate in next(iter(histories.values())).gates]
    below = len(names) + 1  # panels in the lower row; the upper row has three
    figure = make_subplots(
        rows=2,
        cols=3 * below,
        specs=[[{"colspan": below}, *[None] * (below - 1)] * 3, [{"colspan": 3}, None, None] * below],
        subplot_titles=[
            "training loss, mean of 20 steps",
            "test accuracy",
            "p(t); thin: share of open blocks",
            "gates of the last step, ● open",
            *(f"{name}: gradient share" for name in names),
        ],
        horizontal_spacing=0.07,
        vertical_spacing=0.24,
    )
    for position, name in enumerate(names):
        drawn = stroke(name, position)
        thin = {"line": {"color": style(name, position)["color"], "width": 1}}
        panels = (
            (LOSS, drawn, "%{y:.3g} nats"),
            (ACCURACY, drawn, "%{y:.1f}%"),
            (P, drawn, "p = %{y:.2f}"),
            (OPEN, thin, "%{y:.0%}"),
        )
        for kind, look, hover in panels:
            curve = go.Scatter(
                name=name,
                meta=kind,
                legendgroup=name,
                showlegend=kind == LOSS,
                mode="lines+markers" if kind == ACCURACY else "lines",
                hovertemplate=f"step %{{x}}, %{{meta}}: {hover}<extra>{name}</extra>",
                **look,
            )
            panel = (LOSS, ACCURACY, P).index(P if kind == OPEN else kind)
            figure.add_trace(curve, row=1, col=1 + panel * below)
        heat = go.Heatmap(
            name=name,
            meta=BALANCE,
            y=blocks,
            coloraxis="coloraxis",
            hovertemplate=f"step %{{x:.0f}}, block %{{y}}: %{{z:.2f}}<extra>{name}</extra>",
        )
        figure.add_trace(heat, row=2, col=4 + 3 * position)
    colours = [CLOSED, *(style(name, position)["color"] for position, name in enumerate(names))]
    gates = go.Heatmap(
        name=GATES,
        meta=GATES,
        x=blocks,
        zmin=0,
        zmax=1,
        colorscale=[[place / len(names), colour] for place, colour in enumerate(colours)],
        showscale=False,
        xgap=3,
        ygap=3,
        texttemplate="%{text}",
        textfont={"color": "white"},
        hovertemplate="%{y}, block %{x}: %{text}<extra>● open</extra>",
    )
    figure.add_trace(gates, row=2, col=1)
    _label(figure, below, total_steps)
    scale = {"colorscale": "Cividis", "cmin": 0, "cmax": min(1.0, 3 / len(blocks))}
    scale["colorbar"] = {"title": "share", "len": 0.42, "y": 0.18, "thickness": 14}
    return dress(figure, height=540).update_layout(coloraxis=scale)


def _label(figure: go.Figure, below: int, total_steps: int) -> None:
    steps = {"title": {"text": "optimiser step", "standoff": 6}, "range": [0, total_steps]}
    figure.update_xaxes(steps)
    figure.update_xaxes(title_text="block", range=None, type="category", row=2, col=1)
    units: dict[str, dict[str, Any]] = {
        "nats": {"type": "log", "range": [-4, 1], "dtick": 1, "tickformat": "~g"},
        "%": {"range": [0, 100], "dtick": 20},
        "probability, share": {"range": [0, 1.05]},
    }
    for panel, (unit, axis) in enumerate(units.items()):
        figure.update_yaxes(axis, title={"text": unit, "standoff": 4}, row=1, col=1 + panel * below)
    figure.update_yaxes(type="category", row=2)
    figure.update_yaxes(autorange="reversed", row=2, col=1)  # so that the first method is on top
    figure.update_yaxes(title={"text": "block", "standoff": 4}, row=2, col=4)
