"""The time of a training step, predicted from the masks and measured."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from coto_lab.figures.style import dress, guess_marker, style
from coto_lab.figures.theme import INK
from coto_lab.probes.cost import Cost, steady_saving
from coto_lab.training.history import History


def cost_figure(cost: Cost, coto: History, lora: History) -> go.Figure:
    """Time of CoTo's steps in percent of LoRA's: predicted on the left, measured on the right.

    A measured step is divided by the LoRA step of the same turn, so that changes of the machine's speed have no effect. Dots
    are single steps, and the line is their running median. The saving in the title is the `steady_saving`.

    Args:
        cost: `measure_cost` of the same task and recipe on the same machine.
        coto: history of a CoTo run.
        lora: history of the LoRA run that took turns with it (`train_in_turns`), with as many steps.

    Raises:
        ValueError: the histories have different lengths, or another number of blocks than ``cost``; ``lora`` has dropped
            blocks.
    """
    measured = steady_saving(coto, lora)
    titles = [f"predicted: CoTo saves {cost.saving(coto.mask):z.1%}", f"measured: CoTo saves {measured:z.1%}"]
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.05)
    steps = torch.arange(len(coto)).numpy()
    shares = (cost.step(coto.mask) / cost.step(lora.mask), coto.seconds / lora.seconds)
    for column, share in enumerate(shares, start=1):
        percent = 100 * share.float()
        window = max(1, len(coto) // 10)
        median = torch.stack([percent[max(0, t - window + 1) : t + 1].quantile(0.5) for t in range(len(percent))])
        look = style("CoTo")
        dots = go.Scatter(
            name="CoTo, single steps",
            x=steps,
            y=percent.numpy(),
            mode="markers",
            marker={"color": look["color"], "size": 5, "opacity": 0.35},
        )
        line = go.Scatter(
            name=f"CoTo, median of {window} steps", x=steps, y=median.numpy(), line={"color": look["color"], "width": 2.5}
        )
        look = style("LoRA")
        level = go.Scatter(
            name="LoRA", x=steps[[0, -1]], y=[100, 100], mode="lines", line={"color": look["color"], "dash": look["dash"]}
        )
        for trace in (dots, line, level):
            trace.update(legendgroup=trace.name, showlegend=column == 1, hovertemplate="step %{x}: %{y:.0f}%")
            figure.add_trace(trace, row=1, col=column)
    figure.update_xaxes(title="optimiser step")
    figure.update_yaxes(range=[0, 160])  # an interrupted step may be above this range
    figure.update_yaxes(title="time of a step, % of LoRA's", row=1, col=1)
    return dress(figure, height=400)


# Names, colours and patterns of `Cost.parts`. The colours are from cividis, and no method has one of them.
_PARTS = (("fixed", "#00224E", ""), ("backward through the base", "#7D7C78", "/"), ("adapters", "#FEE838", "x"))


def step_cost_figure(cost: Cost, guesses: Mapping[str, float] | None = None) -> go.Figure:
    """Milliseconds of one step for different open blocks: the three predicted parts, and the measured time.

    Args:
        cost: the result of `measure_cost`.
        guesses: the reader's guesses by the name of the bar (``"only 0"``, ``"5 to 7"``), in percent of the time of a step
            with all blocks open; drawn as crosses.
    """
    order = cost.step(cost.masks).argsort(stable=True)
    names = [_open_blocks(mask.tolist()) for mask in cost.masks[order]]
    parts, seconds = cost.parts(cost.masks[order]), cost.seconds[order]
    figure = go.Figure()
    for (name, color, pattern), part in zip(_PARTS, parts.T, strict=True):
        bar = go.Bar(
            name=name,
            x=names,
            y=(1000 * part).tolist(),
            marker={
                "color": color,
                "pattern": {"shape": pattern, "fgcolor": "white", "size": 6},
                "line": {"color": INK, "width": 1},
            },
            hovertemplate="%{x}: %{y:.1f} ms<extra>%{fullData.name}</extra>",
        )
        figure.add_trace(bar)
    diamonds = {"symbol": "diamond", "size": 10, "color": "white", "line": {"width": 2, "color": "black"}}
    hover = "%{x}: %{y:.1f} ms<extra>measured</extra>"
    figure.add_trace(
        go.Scatter(name="measured", x=names, y=(1000 * seconds).tolist(), mode="markers", marker=diamonds, hovertemplate=hover)
    )
    whole = 1000 * cost.seconds[cost.masks.all(1)].mean().item()
    for name, percent in (guesses or {}).items():
        figure.add_trace(guess_marker(name, name, percent / 100 * whole))
    figure.update_xaxes(title="blocks whose gates are open, 0 is the lowest", type="category")
    figure.update_yaxes(title="ms per step", rangemode="tozero")
    return dress(figure, height=400).update_layout(barmode="stack")


def _open_blocks(mask: list[bool]) -> str:
    at = [block for block, is_open in enumerate(mask) if is_open]
    if len(at) == 1:
        return f"only {at[0]}"
    if at and len(at) == at[-1] - at[0] + 1:
        return f"{at[0]} to {at[-1]}"
    return ", ".join(map(str, at)) or "none"
