"""Scores on the lines between many pairs of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from coto_lab.figures.bands import add_bands
from coto_lab.figures.style import dress
from coto_lab.probes.interpolation import Curve


def pairs_figure(curves: Mapping[str, Sequence[Curve]]) -> go.Figure:
    """Accuracy and loss on the lines between pairs of runs: mean over the pairs, and a band of ±1 sample standard deviation.

    Args:
        curves: method name -> curves of several pairs, at the same alphas.

    Raises:
        ValueError: a method has no curves, or curves at different alphas.
    """
    figure = make_subplots(rows=1, cols=2, subplot_titles=["test accuracy", "test loss"], horizontal_spacing=0.12)
    for position, (name, pairs) in enumerate(curves.items()):
        if len({tuple(curve.alphas.tolist()) for curve in pairs}) != 1:
            raise ValueError(f"curves[{name!r}] has {len(pairs)} curves: give at least one curve, all at the same alphas.")
        alphas = pairs[0].alphas.tolist()
        accuracy = torch.stack([curve.accuracy for curve in pairs]) * 100
        loss = torch.stack([curve.loss for curve in pairs])
        add_bands(figure, name, alphas, accuracy, position, "α = %{x:.2f}: %{y:.1f}%")
        add_bands(figure, name, alphas, loss, position, "α = %{x:.2f}: %{y:.3f} nats", column=2)
    figure.update_xaxes(title="α: share of the second run", range=[-0.03, 1.03])
    figure.update_yaxes(title="accuracy, %<br>(mean; band: ±1 standard deviation)", row=1, col=1)
    figure.update_yaxes(title="cross-entropy, nats", rangemode="tozero", row=1, col=2)
    return dress(figure, height=440)
