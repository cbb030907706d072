"""Plotly figures, pure functions of records. One palette: the same method has the same colour and dash everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.coto import CoTo
from coto_lab.history import History
from coto_lab.probes.gradients import gradient_share
from coto_lab.probes.interpolation import Curve
from coto_lab.probes.pruning import PruningTable

# Okabe-Ito colours, told apart by the colour-blind too; the dash is the second cue.
STYLES = {
    "LoRA": {"color": "#0072B2", "dash": "dash", "symbol": "circle", "pattern": "/"},
    "CoTo": {"color": "#D55E00", "dash": "solid", "symbol": "diamond", "pattern": ""},
}
_SPARE = (
    {"color": "#009E73", "dash": "dot", "symbol": "square", "pattern": "x"},
    {"color": "#CC79A7", "dash": "dashdot", "symbol": "cross", "pattern": "."},
    {"color": "#56B4E9", "dash": "longdash", "symbol": "star", "pattern": "-"},
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


def image_figure(images: Tensor, titles: Sequence[str], columns: int = 10) -> go.Figure:
    """A table of grey images, ink dark on light paper.

    Args:
        images: ``[n, 1, height, width]`` in [-1, 1], ink 1.
        titles: one per image.
        columns: images in a row.
    """
    rows = -(-len(images) // columns)
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=list(titles), horizontal_spacing=0.01)
    for i, image in enumerate(images[:, 0]):
        grey = go.Heatmap(z=image.numpy(), zmin=-1, zmax=1, colorscale="Greys", showscale=False, hoverinfo="skip")
        figure.add_trace(grey, row=i // columns + 1, col=i % columns + 1)
    figure.update_xaxes(visible=False, constrain="domain")
    figure.update_yaxes(visible=False, autorange="reversed", scaleanchor="x", constrain="domain")
    return _dress(figure, height=60 + 110 * rows).update_layout(margin={"l": 10, "r": 10, "t": 40, "b": 10})


def schedule_figure(coto: CoTo) -> go.Figure:
    """What CoTo will do, known before training: the share of open gates against p(t) above, every gate's draws below."""
    masks = coto.masks()
    steps = torch.arange(len(masks)).numpy()
    names = [name.rsplit(".", 1)[-1] for name in coto.gates.names]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.45, 0.55])
    look = style("CoTo")
    share = smooth(masks.float().mean(1)).numpy()
    line = {"color": GUESS_COLOR, "width": 1.5}
    figure.add_trace(go.Scatter(name="open blocks, mean of 20 steps", x=steps, y=share, line=line), row=1, col=1)
    p = [coto.probability(int(step)) for step in steps]
    line = {"color": look["color"], "width": 3}
    figure.add_trace(go.Scatter(name="p(t)", x=steps, y=p, line=line), row=1, col=1)
    scale = [[0, "#F2F2F2"], [1, look["color"]]]
    raster = go.Heatmap(
        x=steps, y=names, z=masks.T.int().numpy(), zmin=0, zmax=1, colorscale=scale, showscale=False,
        hovertemplate="step %{x}, block %{y}: %{z}<extra>1 = open</extra>",
    )  # fmt: skip
    figure.add_trace(raster, row=2, col=1)
    figure.update_yaxes(title="probability, share", range=[0, 1.05], row=1, col=1)
    figure.update_yaxes(title="block (coloured: it trains)", type="category", row=2, col=1)
    figure.update_xaxes(title="optimiser step", row=2, col=1)
    return _dress(figure, height=430)


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
    return _dress(figure, height=560)


def interpolation_figure(curves: Mapping[str, Curve], guesses: Mapping[str, float] | None = None) -> go.Figure:
    """Accuracy and loss on the line between two runs, one curve per method.

    Args:
        curves: method name -> curve.
        guesses: what the reader expected of the accuracy in the middle, in percent, per method; drawn as crosses.
    """
    figure = make_subplots(rows=1, cols=2, subplot_titles=["test accuracy", "test loss"], horizontal_spacing=0.12)
    for position, (name, curve) in enumerate(curves.items()):
        look = style(name, position)
        for column, values in ((1, curve.accuracy * 100), (2, curve.loss)):
            trace = go.Scatter(
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                x=curve.alphas.numpy(),
                y=values.numpy(),
                mode="lines+markers",
                line={"color": look["color"], "dash": look["dash"], "width": 2},
                marker={"symbol": look["symbol"], "size": 7},
            )
            figure.add_trace(trace, row=1, col=column)
        if guesses and name in guesses:
            figure.add_trace(_guess(name, 0.5, guesses[name], look), row=1, col=1)
    figure.update_xaxes(title="α: share of the second run", range=[-0.03, 1.03])
    figure.update_yaxes(title="accuracy, %", row=1, col=1)
    figure.update_yaxes(title="cross-entropy, nats", rangemode="tozero", row=1, col=2)
    return _dress(figure, height=400)


def pruning_figure(
    tables: Mapping[str, PruningTable], guesses: Mapping[str, float] | None = None, guessed: str = "every other"
) -> go.Figure:
    """Test accuracy of every pruning pattern, one bar per method side by side; a line marks the base without adapter.

    Args:
        tables: method name -> table.
        guesses: what the reader expected of the pattern ``guessed``, in percent, per method; drawn as crosses.
        guessed: the pattern that the guesses are about.
    """
    figure = go.Figure()
    for position, (name, table) in enumerate(tables.items()):
        look = style(name, position)
        shown = [(p, a) for p, a in zip(table.patterns, (table.accuracy * 100).tolist(), strict=True) if p != "none"]
        bar = go.Bar(
            name=name,
            x=[pattern for pattern, _ in shown],
            y=[accuracy for _, accuracy in shown],
            marker={"color": look["color"], "pattern": {"shape": look["pattern"], "fgcolor": "white", "size": 6}},
            hovertemplate="%{x}: %{y:.1f}%<extra></extra>",
        )
        figure.add_trace(bar)
        if "none" in table.patterns and position == len(tables) - 1:  # the last trace is drawn over the bars
            base = [table.accuracy[table.patterns.index("none")].item() * 100] * len(shown)
            line = {"dash": "dot", "color": "black", "width": 2}
            x = [pattern for pattern, _ in shown]
            figure.add_trace(go.Scatter(name="base model, no adapter", x=x, y=base, mode="lines", line=line))
    for position, name in enumerate(tables):
        if guesses and name in guesses:
            figure.add_trace(_guess(name, guessed, guesses[name], style(name, position)))
    figure.update_xaxes(title="which adapters are kept")
    figure.update_yaxes(title="test accuracy, %", range=[0, 100])
    figure.update_layout(barmode="group")
    return _dress(figure, height=400)


def _guess(name: str, x: float | str, value: float, look: Mapping[str, str]) -> go.Scatter:
    """A cross where the reader put a method: white, so that it shows on a bar of the method's own colour."""
    cross = {"symbol": "x", "size": 13, "color": "white", "line": {"width": 2.5, "color": look["color"]}}
    return go.Scatter(name=f"your guess, {name}", x=[x], y=[value], mode="markers", marker=cross)


def _dress(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 70, "r": 30, "t": 80, "b": 60},
        legend={"orientation": "h", "y": 1 + 30 / (height - 120), "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    return figure
