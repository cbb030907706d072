"""A coalition of a cooperative game: its value, and the marginal contribution of each player."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures.redraw import redrawn
from coto_lab.figures.style import GUESS_COLOR, dress, style
from coto_lab.figures.theme import CLOSED, INK
from coto_lab.probes.shapley import exact_shapley


def game_figure(
    games: Mapping[str, Tensor],
    name: str,
    mask: Tensor,
    players: Sequence[str],
    *,
    unit: str = "",
    shapley: bool = False,
    figure: Any = None,
) -> Any:
    """The value of a coalition S on the left, and the marginal contribution of each player on the right.

    A player outside of S would add v(S with the player) - v(S). A player in S adds v(S) - v(S without the player).

    Args:
        games: name -> v of all coalitions, ``[2^n]``; bit i of an index says whether player i is in. All games share the axes.
        name: name of the game that is shown.
        mask: the players in the coalition, ``BoolTensor [n]``.
        players: names of the players.
        unit: unit of v, for the axes.
        shapley: whether to mark the Shapley values too.
        figure: a figure of an earlier call with the same games and players, updated in place (a ``FigureWidget`` redraws);
            None makes a new one.
    """
    worths = games[name]
    earned, adds = coalition(worths, mask)
    look = style(name, list(games).index(name))
    titles = ["the coalition earns", "what each player adds to the others in the coalition"]
    fresh = make_subplots(rows=1, cols=2, column_widths=[0.2, 0.8], subplot_titles=titles, horizontal_spacing=0.12)
    total = go.Bar(
        name="the coalition", x=[""], y=[earned], text=[f"{earned:.1f}"], textposition="outside", showlegend=False,
        marker={"color": GUESS_COLOR}, hovertemplate="%{y:.1f}<extra></extra>",
    )  # fmt: skip
    fresh.add_trace(total, row=1, col=1)
    inside = {"color": look["color"], "pattern": {"shape": look["pattern"], "fgcolor": "white", "size": 6}}
    outside = {"color": CLOSED, "line": {"color": look["color"], "width": 1.5}}
    for label, here, marker in (("in, adds", mask, inside), ("out, would add", ~mask, outside)):
        bar = go.Bar(
            name=label, x=list(players), y=[value if shown else None for value, shown in zip(adds.tolist(), here, strict=True)],
            marker=marker, hovertemplate="%{x}: %{y:+.1f}<extra>%{fullData.name}</extra>",
        )  # fmt: skip
        fresh.add_trace(bar, row=1, col=2)
    values = exact_shapley(worths).tolist() if shapley else [None] * len(players)
    dots = go.Scatter(
        name="Shapley value", x=list(players), y=values, mode="markers", showlegend=shapley,
        marker={"symbol": "diamond", "size": 12, "color": "white", "line": {"color": "#222222", "width": 2}},
        hovertemplate="%{x}: %{y:.1f}<extra>Shapley value</extra>",
    )  # fmt: skip
    fresh.add_trace(dots, row=1, col=2)
    highest = max(own.max().item() for own in games.values())
    steps = torch.cat([_all_contributions(own, len(players)) for own in games.values()])
    margin = 0.06 * (steps.max() - steps.min()).item() or 1.0
    fresh.update_yaxes(title=f"v{unit and ', ' + unit}", range=[0, 1.15 * highest or 1.0], row=1, col=1)
    fresh.update_yaxes(range=[steps.min().item() - margin, steps.max().item() + margin], zerolinecolor=INK, row=1, col=2)
    fresh.update_yaxes(title=f"marginal contribution{unit and ', ' + unit.replace('%', 'points')}", row=1, col=2)
    fresh.update_xaxes(type="category", categoryorder="array", categoryarray=list(players), row=1, col=2)
    if figure is not None:
        return redrawn(figure, fresh)
    return dress(fresh, height=380).update_layout(barmode="overlay")


def coalition(worths: Tensor, mask: Tensor) -> tuple[float, Tensor]:
    """The value of a coalition, and the marginal contribution of every player to it, float64 ``[n]``.

    Args:
        worths: v of all coalitions, ``[2^n]``; bit i of an index says whether player i is in.
        mask: the players in the coalition, ``BoolTensor [n]``.
    """
    bits = 2 ** torch.arange(len(mask))
    index = int((bits * mask).sum())
    without = index - bits * mask
    return worths[index].item(), (worths[without + bits] - worths[without]).double()


def _all_contributions(worths: Tensor, n: int) -> Tensor:
    """Marginal contributions of all players to all coalitions without them: ``[n * 2^(n - 1)]``."""
    halves = [worths.view(-1, 2, 2**i).unbind(1) for i in range(n)]  # the middle dimension is bit i
    return torch.cat([(with_i - without).flatten() for without, with_i in halves])
