"""Time of a training step: predicted from the masks, and measured."""

from __future__ import annotations

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from coto_lab.figures._style import dress, smooth, style
from coto_lab.history import History
from coto_lab.probes.cost import Cost, saving_from_history


def cost_figure(cost: Cost, coto: History, lora: History) -> go.Figure:
    """Milliseconds per step over a training, CoTo against LoRA: predicted on the left, measured on the right.

    Args:
        cost: `measure_cost` of the same task and recipe on the same machine.
        coto: history of a CoTo run.
        lora: history of the LoRA run that took turns with it (`train_in_turns`); as many steps.

    Raises:
        ValueError: histories of different lengths, or of another number of blocks than ``cost``.
    """
    measured = saving_from_history(coto, lora)
    predicted = 1 - (cost.step(coto.mask).sum() / cost.step(lora.mask).sum()).item()
    titles = [f"predicted from the masks: CoTo saves {predicted:.1%}", f"measured: CoTo saves {measured:.1%}"]
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.05)
    window = max(1, len(coto) // 20)
    steps = torch.arange(len(coto)).numpy()
    for name, history in (("LoRA", lora), ("CoTo", coto)):
        look = style(name)
        for column, seconds in ((1, cost.step(history.mask)), (2, history.seconds)):
            trace = go.Scatter(
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                x=steps,
                y=1000 * smooth(seconds, window).numpy(),
                line={"color": look["color"], "dash": look["dash"], "width": 2},
                hovertemplate="step %{x}: %{y:.1f} ms<extra>%{fullData.name}</extra>",
            )
            figure.add_trace(trace, row=1, col=column)
    figure.update_xaxes(title="optimiser step")
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title=f"ms per step<br>(mean of {window} steps)", row=1, col=1)
    return dress(figure, height=380)
