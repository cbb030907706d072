"""Scores on the line between two runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from coto_lab.figures.flips import add_flips, flips_title
from coto_lab.figures.redraw import redrawn
from coto_lab.figures.style import GUESS_COLOR, dress, guess_marker, stroke, style
from coto_lab.probes.flips import Flips
from coto_lab.probes.interpolation import Curve
from coto_lab.tasks.task import Example

_TITLES = ["test accuracy", "test loss"]


def interpolation_figure(curves: Mapping[str, Curve], guesses: Mapping[str, float] | None = None) -> go.Figure:
    """Accuracy and loss on the line between two runs, one curve per method.

    Args:
        curves: method name -> curve.
        guesses: the reader's guesses of the accuracy in the middle, in percent, per method; drawn as crosses.
    """
    figure = make_subplots(rows=1, cols=2, subplot_titles=_TITLES, horizontal_spacing=0.12)
    for position, (name, curve) in enumerate(curves.items()):
        _add_curve(figure, name, position, curve)
        if guesses and name in guesses:
            figure.add_trace(guess_marker(name, 0.5, guesses[name], style(name, position)["color"]), row=1, col=1)
    _name_axes(figure)
    figure.update_yaxes(rangemode="tozero", row=1, col=2)
    return dress(figure, height=400)


def line_explorer_figure(
    curves: Mapping[str, Curve | None],
    at: int,
    flips: Flips | None,
    examples: Sequence[Example],
    classes: Sequence[str],
    figure: Any = None,
) -> Any:
    """The curves of `interpolation_figure` with a mark on each at one alpha, and below them the examples that flip there.

    When the figure is redrawn with other curves, the y axes grow if necessary and never shrink, so that heights stay
    comparable.

    Args:
        curves: method name -> curve, all at the same alphas; None if the method is not scored yet.
        at: index of the marked alpha.
        flips: flips of one method at the marked alpha; None leaves the strip empty.
        examples: examples of the whole test set.
        classes: names of the classes; empty for tasks without classes.
        figure: a figure of an earlier call with the same method names, updated in place; None makes a new one.
    """
    fresh = make_subplots(
        rows=2,
        cols=2,
        specs=[[{}, {}], [{"colspan": 2}, None]],
        row_heights=[0.55, 0.45],
        subplot_titles=[*_TITLES, flips_title(flips, examples, classes)],
        horizontal_spacing=0.12,
        vertical_spacing=0.2,
    )
    for position, (name, curve) in enumerate(curves.items()):
        _add_curve(fresh, name, position, curve, at)
    add_flips(fresh, 2, flips, examples, classes)
    _name_axes(fresh)
    known = [curve for curve in curves.values() if curve is not None]
    if known:
        for column in (1, 2):
            fresh.add_vline(x=known[0].alphas[at].item(), line={"color": GUESS_COLOR, "dash": "dot"}, row=1, col=column)
    lows = [10 * math.floor(10 * curve.accuracy.min().item()) for curve in known]
    highs = [1.05 * curve.loss.max().item() for curve in known]
    if figure is not None and any(len(trace.x) for trace in figure.select_traces({"mode": "lines"})):
        lows.append(figure.layout.yaxis.range[0])
        highs.append(figure.layout.yaxis2.range[1])
    fresh.update_yaxes(range=[min(lows, default=0), 101], row=1, col=1)
    fresh.update_yaxes(range=[0, max(highs, default=1)], row=1, col=2)
    if figure is not None:
        return redrawn(figure, fresh)
    return dress(fresh, height=560).update_layout(margin={"b": 5})


def _add_curve(figure: go.Figure, name: str, position: int, curve: Curve | None, at: int | None = None) -> None:
    """Add accuracy and loss of one method to row 1; with ``at``, as lines with a mark at that alpha."""
    look = stroke(name, position)
    nothing = torch.empty(0)
    alphas, accuracy, loss = (nothing,) * 3 if curve is None else (curve.alphas, curve.accuracy * 100, curve.loss)
    for column, y in enumerate((accuracy.numpy(), loss.numpy()), start=1):
        whole = go.Scatter(
            name=name,
            legendgroup=name,
            showlegend=column == 1,
            x=alphas.numpy(),
            y=y,
            mode="lines+markers" if at is None else "lines",
            **look,
        )
        figure.add_trace(whole, row=1, col=column)
        if at is not None:
            here = go.Scatter(
                name=f"{name}, here",
                legendgroup=name,
                showlegend=False,
                x=alphas[at : at + 1].numpy(),
                y=y[at : at + 1],
                mode="markers",
                marker=look["marker"] | {"size": 14, "line": {"color": "white", "width": 2}},
                zorder=3,
            )
            figure.add_trace(here, row=1, col=column)


def _name_axes(figure: go.Figure) -> None:
    figure.update_xaxes(title="α: share of the second run", range=[-0.03, 1.03], row=1)
    figure.update_yaxes(title="accuracy, %", row=1, col=1)
    figure.update_yaxes(title="cross-entropy, nats", row=1, col=2)
