"""What a method of adaptation makes of one layer."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from coto_lab.figures.redraw import redrawn
from coto_lab.figures.style import dress
from coto_lab.figures.theme import INK
from coto_lab.probes.method_update import LayerUpdate

_CHANGE = {"color": "#0072B2", "width": 3}
_WEIGHT = {"color": INK, "width": 2, "dash": "dot"}
_EVEN = {"color": "#E69F00", "width": 2, "dash": "dash"}
_LOWEST = 1e-5  # singular values that are drawn, as a share of the weight's largest
_MOMENTS = ("before the first step", "gate shut", "after the last step")


def layer_update_figure(update: LayerUpdate, layer: str = "the layer", figure: Any = None) -> Any:
    """Four panels: the entries of ΔW; its singular values beside those of W; how much of ΔW lies in the top directions of W;
    and how far the layer's outputs are from the pre-trained ones at the start, with its gate shut, and after the training.

    Args:
        update: what became of the layer.
        layer: its name, for the title.
        figure: a figure of an earlier call for a layer of the same shape, updated in place; None makes a new one.
    """
    fresh = _drawn(update, layer)
    return fresh if figure is None else redrawn(figure, fresh)


def percent_of(difference: float) -> str:
    """A share in words: exact zeros are told from what rounding leaves."""
    if difference == 0:
        return "0, exactly"
    if difference < 1e-5:
        return "less than 0.001%"
    return f"{100 * difference:.0f}%" if difference >= 0.1 else f"{100 * difference:.2g}%"


def _drawn(update: LayerUpdate, layer: str) -> go.Figure:
    out, inputs = update.change.shape
    figure = make_subplots(
        rows=2,
        cols=2,
        subplot_titles=[
            f"ΔW of {layer}",
            "singular values",
            "share of ‖ΔW‖² in W's top k directions",
            "distance to the pre-trained outputs",
        ],
        horizontal_spacing=0.14,
        vertical_spacing=0.19,
    )
    heat = go.Heatmap(
        name="ΔW",
        z=update.change.float().numpy(),
        coloraxis="coloraxis",
        hovertemplate="output %{y}, input %{x}: %{z:.3g}<extra>ΔW</extra>",
    )
    figure.add_trace(heat, row=1, col=1)
    weight = torch.linalg.svdvals(update.weight)
    for name, values, line in (("W, pre-trained", weight, _WEIGHT), ("ΔW", update.singular, _CHANGE)):
        drawn = [value if value > _LOWEST * weight[0] else None for value in values.tolist()]
        figure.add_trace(_line(name, drawn, line, "singular value %{x}: %{y:.3g}"), row=1, col=2)
    shares = update.share_in_top
    k = torch.arange(1, len(shares) + 1, dtype=torch.float64)
    for name, values, line in (
        ("a matrix that prefers no direction", k.square() / (out * inputs), _EVEN),
        ("ΔW", shares, _CHANGE),
    ):
        figure.add_trace(_line(name, (100 * values).tolist(), line, "k = %{x}: %{y:.1f}%"), row=2, col=1)
    figure.data[-1].showlegend = False  # it is in the legend once
    distances = [update.at_start, update.dropped, update.after]
    bars = go.Bar(
        name="distance",
        x=list(_MOMENTS),
        y=[100 * value for value in distances],
        text=[percent_of(value) for value in distances],
        textposition="outside",
        cliponaxis=False,
        marker={"color": _CHANGE["color"]},
        hovertemplate="%{x}: %{text}<extra></extra>",
        showlegend=False,
    )
    figure.add_trace(bars, row=2, col=2)
    figure.update_xaxes(title="input", constrain="domain", row=1, col=1)
    figure.update_yaxes(title="output", range=[out - 0.5, -0.5], scaleanchor="x", constrain="domain", row=1, col=1)
    figure.update_xaxes(title="number, from the largest", range=[0, len(weight) + 1], row=1, col=2)
    ends = torch.tensor([_LOWEST * weight[0], 3 * max(weight[0], update.singular[0])]).log10().tolist()
    figure.update_yaxes(type="log", exponentformat="power", dtick=1, range=ends, row=1, col=2)
    figure.update_xaxes(title="k", range=[0, len(weight) + 1], row=2, col=1)
    figure.update_yaxes(title="%", range=[0, 103], row=2, col=1)
    figure.update_yaxes(title="% of their norm", range=[0, 115 * max(*distances, 1e-3)], row=2, col=2)
    top = update.change.abs().max().item() or 1.0
    bar = {"title": {"text": "entry", "side": "right"}, "thickness": 12, "len": 0.42, "x": 0.43, "y": 1, "yanchor": "top"}
    scale = {"colorscale": "PuOr_r", "cmin": -top, "cmax": top, "colorbar": bar}
    return dress(figure, height=640).update_layout(coloraxis=scale)


def _line(name: str, values: list[Any], line: dict[str, Any], hover: str) -> go.Scatter:
    return go.Scatter(
        name=name,
        x=list(range(1, len(values) + 1)),
        y=values,
        mode="lines+markers" if sum(value is not None for value in values) < 20 else "lines",
        line=line,
        marker={"size": 7, "color": line["color"]},
        hovertemplate=f"{hover}<extra>{name}</extra>",
    )
