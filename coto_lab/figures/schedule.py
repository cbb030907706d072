"""What a schedule will do, known before training."""

from __future__ import annotations

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from coto_lab.coto import CoTo
from coto_lab.figures._style import GUESS_COLOR, dress, smooth, style


def schedule_figure(coto: CoTo) -> go.Figure:
    """What CoTo will do, known before training: the share of open gates against p(t) above, every gate's draws below."""
    masks = coto.masks()
    steps = torch.arange(len(masks)).numpy()
    names = [name.rsplit(".", 1)[-1] for name in coto.gates.names]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.45, 0.55])
    look = style("CoTo")
    share = smooth(masks.float().mean(1)).numpy()
    line = {"color": GUESS_COLOR, "width": 1.5}
    figure.add_trace(go.Scatter(name="open blocks, mean of 20 steps", x=steps, y=share, line=line), row=1, col=1)
    p = [coto.probability(int(step)) for step in steps]
    line = {"color": look["color"], "width": 3}
    figure.add_trace(go.Scatter(name="p(t)", x=steps, y=p, line=line), row=1, col=1)
    scale = [[0, "#F2F2F2"], [1, look["color"]]]
    raster = go.Heatmap(
        x=steps, y=names, z=masks.T.int().numpy(), zmin=0, zmax=1, colorscale=scale, showscale=False,
        hovertemplate="step %{x}, block %{y}: %{z}<extra>1 = open</extra>",
    )  # fmt: skip
    figure.add_trace(raster, row=2, col=1)
    figure.update_yaxes(title="probability, share", range=[0, 1.05], row=1, col=1)
    figure.update_yaxes(title="block (coloured: it trains)", type="category", row=2, col=1)
    figure.update_xaxes(title="optimiser step", row=2, col=1)
    return dress(figure, height=430)
