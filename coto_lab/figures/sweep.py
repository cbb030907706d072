"""What methods score at several learning rates."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures._bands import add_bands
from coto_lab.figures._style import dress


def sweep_figure(panels: Mapping[str, Mapping[str, Mapping[float, Tensor]]]) -> go.Figure:
    """Test accuracy against the learning rate, on a log axis: mean, and a band of ±1 sample standard deviation.

    Args:
        panels: title of a panel -> method name -> learning rate -> shares of right answers of the seeds (or of what is made
            of them), ``[S]``, as many at each rate.

    Raises:
        ValueError: a method without a learning rate, or with other numbers of seeds at some.
    """
    figure = make_subplots(rows=1, cols=len(panels), subplot_titles=list(panels), shared_yaxes=True, horizontal_spacing=0.05)
    rates: set[float] = set()
    for column, (title, methods) in enumerate(panels.items(), start=1):
        for position, (name, scores) in enumerate(methods.items()):
            if len({tuple(values.shape) for values in scores.values()}) != 1:
                raise ValueError(f"panels[{title!r}][{name!r}] must have a learning rate, and as many seeds at every one.")
            x = sorted(scores)
            rates.update(x)
            hover = "learning rate %{x:g}: %{y:.1f} ± %{customdata:.1f}%"
            add_bands(figure, name, x, torch.stack([scores[lr] for lr in x], dim=1) * 100, position, hover, column=column)
    ticks = sorted(rates)
    figure.update_xaxes(title="learning rate", type="log", tickvals=ticks, ticktext=[f"{lr:g}" for lr in ticks])
    figure.update_yaxes(title="test accuracy, %<br>(mean; band: ±1 standard deviation)", col=1)
    return dress(figure, height=420)
