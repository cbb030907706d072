"""Gradient balance of finished runs, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from coto_lab.figures.style import dress
from coto_lab.probes.gradients import GradientBalance

_COLUMNS = 3


def gradient_balance_figure(balances: Mapping[str, GradientBalance]) -> go.Figure:
    """Each method's shares of the gradient norm as a heat map block × step, with the entropy over the training in the title.

    All heat maps have one colour scale, from 0 to three times the even share; larger shares have the last colour. A blank
    column is a bin whose shares are not known.

    Args:
        balances: method name -> balance; all have the same blocks and the same ``per``.
    """
    columns = min(_COLUMNS, len(balances))
    rows = -(-len(balances) // columns)
    first = next(iter(balances.values()))
    blocks = [name.rsplit(".", 1)[-1] for name in first.blocks]
    even = 1 / len(blocks)
    titles = [f"{name}<br>entropy {balance.entropy:.3f}" for name, balance in balances.items()]
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.04, vertical_spacing=0.38 / rows
    )
    for position, (name, balance) in enumerate(balances.items()):
        row, column = position // columns + 1, position % columns + 1
        known = balance.share.isfinite().all(0)  # other bins become None, because NaN is not JSON
        centres = (balance.edges[:-1] + balance.edges[1:]) / 2
        heat = go.Heatmap(
            name=name,
            x=centres.numpy(),
            y=blocks,
            z=[[value if ok else None for value, ok in zip(line, known, strict=True)] for line in balance.share.tolist()],
            coloraxis="coloraxis",
            hoverongaps=False,
            hovertemplate="step %{x:.0f}, block %{y}: %{z:.3f}<extra>%{fullData.name}</extra>",
        )
        figure.add_trace(heat, row=row, col=column)
        last = position + columns >= len(balances)  # no panel is below this one
        figure.update_xaxes(range=balance.edges[[0, -1]].tolist(), row=row, col=column)
        figure.update_xaxes(title="optimiser step" if last else None, row=row, col=column)
    figure.update_yaxes(type="category")
    figure.update_yaxes(title="block (0 is lowest)", col=1)
    top = min(1.0, 3 * even)
    ticks = sorted({0.0, even, min(1.0, 2 * even), top})
    texts = [f"{tick:.3g}{' (even)' if tick == even else ''}" for tick in ticks]
    title = {"text": f"share of the gradient norm per {first.per}", "side": "right"}
    bar = {"title": title, "tickvals": ticks, "ticktext": texts}
    scale = {"colorscale": "Cividis", "cmin": 0, "cmax": top, "colorbar": bar}
    return dress(figure, height=100 + 240 * rows).update_layout(coloraxis=scale)
