"""Accuracy of runs whose small entries are set to 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from coto_lab.figures.bands import add_bands
from coto_lab.figures.style import dress
from coto_lab.figures.theme import INK
from coto_lab.probes.sparsity import SparsityCurve


def sparsity_figure(curves: Mapping[str, SparsityCurve | Sequence[SparsityCurve]]) -> go.Figure:
    """Test accuracy against sparsity: mean over the seeds, and from three seeds on a band of ±1 sample standard deviation.

    If the curves reach sparsity 1, a line marks the accuracy there. For LoRA and HiRA it is the accuracy of the base model.

    Args:
        curves: method name -> curve, or the curves of several seeds at the same sparsities.

    Raises:
        ValueError: a method has no curves, or curves with different sparsities.
    """
    figure = make_subplots(rows=1, cols=1)
    ends = []
    for position, (name, value) in enumerate(curves.items()):
        seeds = [value] if isinstance(value, SparsityCurve) else list(value)
        if len({tuple(curve.sparsity.tolist()) for curve in seeds}) != 1:
            raise ValueError(f"curves[{name!r}] has {len(seeds)} curves: give at least one, all at the same sparsities.")
        sparsity = (seeds[0].sparsity * 100).tolist()
        accuracy = torch.stack([curve.accuracy for curve in seeds]) * 100
        label = name if len(seeds) == 1 else f"{name}, {len(seeds)} seeds"
        add_bands(figure, name, sparsity, accuracy, position, "%{x:.0f}% set to 0: %{y:.1f}%", label=label)
        if seeds[0].sparsity[-1] == 1:
            ends.append(accuracy[:, -1].mean())
    if ends:
        base = torch.stack(ends).mean().item()
        dots = {"dash": "dot", "color": INK, "width": 2}
        figure.add_trace(go.Scatter(name="all entries 0", x=[0, 100], y=[base, base], mode="lines", line=dots))
    figure.update_xaxes(title="sparsity: share of the entries of A and B set to 0, %", range=[-2, 102])
    has_band = any(trace.fill for trace in figure.data)
    figure.update_yaxes(title="test accuracy, %" + ("<br>(mean; band: ±1 standard deviation)" if has_band else ""))
    return dress(figure, height=420)
