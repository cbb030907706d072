"""What lies on the line between two runs."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from coto_lab.figures._style import dress, guess_marker, style
from coto_lab.probes.interpolation import Curve


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
            figure.add_trace(guess_marker(name, 0.5, guesses[name], look), row=1, col=1)
    figure.update_xaxes(title="α: share of the second run", range=[-0.03, 1.03])
    figure.update_yaxes(title="accuracy, %", row=1, col=1)
    figure.update_yaxes(title="cross-entropy, nats", rangemode="tozero", row=1, col=2)
    return dress(figure, height=400)
