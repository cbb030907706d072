"""The mean contribution of each player at every p; the mean of such a curve is the player's Shapley value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures.style import dress
from coto_lab.probes.shapley import exact_shapley
from coto_lab.probes.shapley_from_training import expected_marginals

_DASHES = ("solid", "dash", "dot", "dashdot")  # neighbouring curves differ in colour and in dash


def owen_figure(games: Mapping[str, Tensor], players: Sequence[str]) -> go.Figure:
    """c_i(p) of every player, one panel per game; the dots at the right end of a panel are the means, the Shapley values.

    Args:
        games: name -> v of all coalitions as shares of right answers, ``[2^n]``; bit i of an index says whether player i is in.
        players: names of the n players.
    """
    figure = make_subplots(rows=1, cols=len(games), subplot_titles=list(games), shared_yaxes=True, horizontal_spacing=0.03)
    ps = torch.linspace(0, 1, 51, dtype=torch.float64)
    for column, worths in enumerate(games.values(), start=1):
        curves, values = expected_marginals(worths, ps), exact_shapley(worths)
        for player, curve, value, color, dash in zip(
            players, curves, values.tolist(), _colors(len(players)), cycle(_DASHES), strict=False
        ):
            line = go.Scatter(
                name=player, legendgroup=player, showlegend=column == 1, mode="lines",
                line={"color": color, "width": 2.5, "dash": dash},
                x=ps.numpy(), y=(100 * curve).numpy(), hovertemplate="p = %{x:.2f}: %{y:.1f} points",
            )  # fmt: skip
            dot = go.Scatter(
                name=f"{player}, Shapley value", legendgroup=player, showlegend=False, mode="markers",
                x=[1.04], y=[100 * value],
                marker={"color": color, "size": 9, "line": {"color": "white", "width": 1}},
                hovertemplate="Shapley value: %{y:.1f} points",
            )  # fmt: skip
            figure.add_traces([line, dot], rows=1, cols=column)
    figure.update_xaxes(title="p: each other block is open", range=[0, 1.07], tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_yaxes(title="points that a block adds on average", row=1, col=1)
    return dress(figure, height=420)


def _colors(n: int) -> list[str]:
    from plotly.colors import sample_colorscale

    return sample_colorscale("Turbo", [0.1 + 0.8 * i / max(1, n - 1) for i in range(n)])
