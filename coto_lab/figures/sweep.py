"""Scores of methods at several learning rates."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures.style import dress, stroke, style

_COLLAPSED = 12  # a run has collapsed if it is more percentage points than this below the best single value of the figure
_MANY = 6  # the numbers of more learning rates than this do not fit side by side


def sweep_figure(panels: Mapping[str, Mapping[str, Mapping[float, Tensor]]]) -> go.Figure:
    """Test accuracy against the learning rate, on a log axis: a dot for each run, and a line through the means.

    If some runs collapse (more than 12 points below the best of all), there are two rows with the same learning rates: the
    upper row enlarges the accuracies of the other runs, and the lower row shows all runs.

    Args:
        panels: title of a panel -> method name -> learning rate -> shares of right answers, ``[S]``: one value for each seed
            (or each mixture of seeds), and as many values at each rate.

    Raises:
        ValueError: a method has no learning rate, or different numbers of seeds at different rates.
    """
    for title, methods in panels.items():
        for name, scores in methods.items():
            if len({tuple(values.shape) for values in scores.values()}) != 1:
                raise ValueError(f"panels[{title!r}][{name!r}] must have a learning rate, and equally many seeds at each rate.")
    everything = [scores for methods in panels.values() for scores in methods.values()]
    values = 100 * torch.cat([own.flatten() for scores in everything for own in scores.values()])
    alive = values[values >= values.max() - _COLLAPSED]
    rows = 1 if len(alive) == len(values) else 2
    figure = make_subplots(
        rows=rows,
        cols=len(panels),
        row_heights=[0.6, 0.4][:rows],
        subplot_titles=list(panels),
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=0.05,
        vertical_spacing=0.06,
    )
    for column, methods in enumerate(panels.values(), start=1):
        for position, (name, scores) in enumerate(methods.items()):
            for row in range(1, rows + 1):
                is_new = all(trace.legendgroup != name for trace in figure.data)
                _add_method(figure, name, position, scores, row, column, is_new)
    rates = sorted({lr for scores in everything for lr in scores})
    ticks = {"tickvals": rates, "ticktext": [f"{lr:.3g}" for lr in rates], "tickangle": -60 if len(rates) > _MANY else 0}
    figure.update_xaxes(type="log", **ticks)
    figure.update_xaxes(title="learning rate", row=rows)
    figure.update_yaxes(title="test accuracy, %" + ("" if rows == 1 else "<br>(enlarged)"), row=1, col=1)
    if rows == 2:
        figure.update_yaxes(range=[alive.min().item() - 0.7, alive.max().item() + 0.7], row=1)
        figure.update_yaxes(range=[0, 102], row=2)
        figure.update_yaxes(title="whole range", row=2, col=1)
    return dress(figure, height=(420, 540)[rows - 1])


def _add_method(
    figure: go.Figure, name: str, position: int, scores: Mapping[float, Tensor], row: int, column: int, in_legend: bool
) -> None:
    """Add the dots and the line of the means of one method to one panel."""
    rates = sorted(scores)
    percent = [100 * scores[lr] for lr in rates]
    look = style(name, position)
    dots = go.Scatter(
        name=f"{name}, single values",
        legendgroup=name,
        showlegend=False,
        x=[lr for lr, own in zip(rates, percent, strict=True) for _ in own],
        y=torch.cat(percent).tolist(),
        mode="markers",
        marker={"color": look["color"], "symbol": look["symbol"] + "-open", "size": 7},
        hovertemplate="learning rate %{x:.3g}: %{y:.1f}%<extra>%{fullData.name}</extra>",
        zorder=3,
    )
    line = go.Scatter(
        name=name,
        legendgroup=name,
        showlegend=in_legend,
        x=rates,
        y=[own.mean().item() for own in percent],
        mode="lines",
        hovertemplate=f"learning rate %{{x:.3g}}, mean of {len(percent[0])}: %{{y:.1f}}%<extra>%{{fullData.name}}</extra>",
        line=stroke(name, position)["line"],
        zorder=stroke(name, position)["zorder"],
    )
    figure.add_traces([dots, line], rows=row, cols=column)
