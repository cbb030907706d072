"""The effect of dropped blocks: dropout stability, Jensen's inequality, and barriers against loss changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from coto_lab.figures.style import GUESS_COLOR, dress, stroke, style
from coto_lab.probes.stability import Stability, pool
from coto_lab.probes.theory import BarrierBound, JensenTable

_OPEN = {"fuse": "", "ensemble": "-open"}  # endings of marker symbols: filled for fuse, hollow for ensemble
_MIXTURE = {"fuse": "fused factors", "ensemble": "ensemble"}


def stability_figure(records: Mapping[str, Stability | Sequence[Stability]]) -> go.Figure:
    """Test accuracy against the share of open blocks: mean over the masks, and a band from the worst mask to the best.

    Args:
        records: method name -> record, or the records of several seeds, whose masks are pooled.
    """
    figure = go.Figure()
    for position, (name, record) in enumerate(records.items()):
        look = style(name, position)
        parts = [record] if isinstance(record, Stability) else record
        pooled = pool(parts)
        share = (pooled.share * 100).tolist()
        spread = {key: (values * 100).tolist() for key, values in pooled.spread().items()}
        band = go.Scatter(
            name=f"{name}, worst to best mask",
            legendgroup=name,
            showlegend=False,
            x=share + share[::-1],
            y=spread["max"] + spread["min"][::-1],
            mode="lines",
            fill="toself",
            fillcolor=_pale(look["color"]),
            line={"color": look["color"], "dash": look["dash"], "width": 0.75},
            hoverinfo="skip",
        )
        mean = go.Scatter(
            name=name if len(parts) == 1 else f"{name}, {len(parts)} seeds",
            legendgroup=name,
            x=share,
            y=spread["mean"],
            mode="lines+markers",
            **stroke(name, position),
            customdata=list(zip(spread["min"], spread["max"], strict=True)),
            hovertemplate="%{x:.0f}% open: %{y:.1f}%, from %{customdata[0]:.1f} to %{customdata[1]:.1f}",
        )
        figure.add_traces([band, mean])
    figure.update_xaxes(title="share of open blocks, %", range=[-2, 102])
    figure.update_yaxes(title="test accuracy, %<br>(mean; band: worst to best mask)")
    return dress(figure, height=420)


def jensen_figure(tables: Mapping[str, JensenTable]) -> go.Figure:
    """Both sides of theorem 3.1 against p, one panel per method; the shaded area between them is the gap (on a log axis).

    Args:
        tables: method name -> table.
    """
    figure = make_subplots(rows=1, cols=len(tables), subplot_titles=list(tables), shared_yaxes=True, horizontal_spacing=0.03)
    for column, (name, table) in enumerate(tables.items(), start=1):
        color = style(name, column - 1)["color"]
        sides = {
            "loss of the mean predictions": (table.mean_prediction_loss, "dot", "none"),
            "mean loss of one draw of the gates": (table.expected_loss, "solid", "tonexty"),
        }
        for side, (loss, dash, fill) in sides.items():
            line = go.Scatter(
                name=side,
                legendgroup=side,
                showlegend=column == 1,
                x=table.p.numpy(),
                y=loss.numpy(),
                mode="lines",
                line={"color": color, "dash": dash, "width": 2.5},
                fill=fill,
                fillcolor=_pale(color),
                hovertemplate="p = %{x:.2f}: %{y:.3f} nats",
            )
            figure.add_trace(line, row=1, col=column)
        whole = go.Scatter(
            name="whole adapter, all blocks open",
            legendgroup="whole",
            showlegend=column == 1,
            x=[0, 1],
            y=[table.whole_loss] * 2,
            mode="lines",
            line={"color": GUESS_COLOR, "dash": "dash", "width": 1.5},
            hovertemplate="%{y:.3f} nats",
        )
        figure.add_trace(whole, row=1, col=column)
    figure.update_xaxes(title="activation probability p", range=[0, 1])
    # At p near 1 both sides are small, and the ensembles can be below the whole adapter; a linear axis would hide this.
    figure.update_yaxes(type="log", tickvals=[digit * 10.0**power for power in range(-4, 3) for digit in (1, 2, 5)])
    figure.update_yaxes(title="cross-entropy, nats", row=1, col=1)
    return dress(figure, height=420)


def barrier_figure(bounds: Mapping[str, BarrierBound]) -> go.Figure:
    """Measured barrier against the loss change under dropped blocks, one marker per pair of runs; both are equal on the line.

    Args:
        bounds: method name -> bound.
    """
    titles = ["mean over the masks", "worst mask"]
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.05)
    for column in (1, 2):
        largest = 0.0
        for position, (name, bound) in enumerate(bounds.items()):
            look = style(name, position)
            change = bound.mean_change if column == 1 else bound.worst_change
            for how, barrier in bound.barriers.items():
                points = go.Scatter(
                    name=f"{name}, {_MIXTURE[how]}",
                    legendgroup=f"{name}, {how}",
                    showlegend=column == 1,
                    x=change.numpy(),
                    y=barrier.numpy(),
                    mode="markers",
                    marker={"color": look["color"], "symbol": look["symbol"] + _OPEN[how], "size": 9},
                    customdata=bound.pairs.numpy(),
                    hovertemplate="runs %{customdata[0]} and %{customdata[1]}: change %{x:.3f}, barrier %{y:.3f} nats",
                )
                figure.add_trace(points, row=1, col=column)
                largest = max(largest, change.max().item())
        equal = go.Scatter(
            name="equal",
            showlegend=False,
            x=[0, largest],
            y=[0, largest],
            mode="lines+text",
            text=["", "barrier = loss change"],
            textposition="top left",
            line={"color": GUESS_COLOR, "dash": "dot", "width": 1.5},
            hoverinfo="skip",
        )
        figure.add_trace(equal, row=1, col=column)
        figure.update_xaxes(title="loss change with half<br>of the blocks dropped, nats", rangemode="tozero", row=1, col=column)
    figure.update_yaxes(title="barrier, nats", row=1, col=1)
    return dress(figure, height=440)


def _pale(color: str) -> str:
    """A nearly transparent version of a colour of `STYLES` (``"#RRGGBB"``)."""
    return "rgba({}, {}, {}, 0.15)".format(*bytes.fromhex(color[1:]))
