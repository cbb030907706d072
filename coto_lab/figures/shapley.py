"""Shapley values of blocks as bars, and of modules as heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures.bands import SPREAD_FROM, single_values
from coto_lab.figures.style import dress, style
from coto_lab.figures.theme import INK
from coto_lab.probes.shapley import ShapleyValues

_KINDS = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "o_proj": "output"}
# For each kind of value: the factor to the unit that is drawn, the axis title, the unit, and the digits after the point.
_UNITS = {
    "accuracy": (100, "accuracy, percentage points", "points", 1),
    "loss": (1, "loss reduction, nats", "nats", 2),
}  # fmt: skip


def shapley_figure(records: Mapping[str, ShapleyValues | Sequence[ShapleyValues]]) -> go.Figure:
    """Shapley values of every block, one bar per method side by side.

    With three or more seeds, error bars are the standard deviation over the seeds; with one seed, they are the standard error
    of the estimate, if there is one. The title of the axis says which. With two seeds, each value is a dot.

    Args:
        records: method name -> record, or the records of several seeds; all records are of the same game.

    Raises:
        ValueError: the records differ in their players or in their kind of value.
    """
    several = {name: _as_list(record) for name, record in records.items()}
    players, value, owners = _same_game(several)
    factor, title, unit, digits = _UNITS[value]
    labels = short_names(players)
    figure = go.Figure()
    meanings = []
    for position, (name, seeds) in enumerate(several.items()):
        look = style(name, position)
        mean, error, meaning = _mean_and_error(seeds)
        meanings.append(meaning)
        sizes = None if error is None else {"array": (error * factor).numpy(), "thickness": 1.5, "width": 4, "color": INK}
        bar = go.Bar(
            name=name if len(seeds) == 1 else f"{name}, {len(seeds)} seeds",
            x=labels,
            y=(mean * factor).numpy(),
            error_y=sizes,
            offsetgroup=name,
            marker={"color": look["color"], "pattern": {"shape": look["pattern"], "fgcolor": "white", "size": 6}},
            hovertemplate=f"%{{x}}: %{{y:.{digits}f}} {unit}",
        )
        figure.add_trace(bar)
        if 1 < len(seeds) < SPREAD_FROM:
            values = torch.stack([record.values for record in seeds]) * factor
            hover = f"%{{x}}: %{{y:.{digits}f}} {unit}"
            figure.add_trace(single_values(name, position, labels, values, hover, offsetgroup=name, showlegend=False))
    bars = [f"error bars: {meaning}" for meaning in dict.fromkeys(meanings) if meaning]
    figure.update_xaxes(title="block, from the input up" if owners is None else "module", type="category")
    figure.update_yaxes(title="<br>".join([f"Shapley value of {title}", *bars]), zerolinecolor=INK)
    return dress(figure, height=400).update_layout(barmode="group", scattermode="group", scattergap=0.2)


def shapley_map_figure(records: Mapping[str, ShapleyValues | Sequence[ShapleyValues]]) -> go.Figure:
    """Shapley values of every module as a heat map block × query/key/value; one panel per method, one colour scale for all.

    Args:
        records: method name -> record with ``players="module"``, or the records of several seeds, whose mean is drawn.

    Raises:
        ValueError: the records differ in their players or in their kind of value, or the players are blocks.

    Source: arXiv:2506.05713, Shapley values as a heat map (figure r5 of the authors' rebuttal).
    """
    several = {name: _as_list(record) for name, record in records.items()}
    players, value, owners = _same_game(several)
    if owners is None:
        raise ValueError(f"players are {players[0]!r}, ...: blocks have no query, key and value. Use players='module'.")
    factor, title, unit, digits = _UNITS[value]
    # A player's name is "block.rest". There is one column per rest, because every block has the same layers.
    cells = [(block, player.removeprefix(f"{block}.")) for player, block in zip(players, owners, strict=True)]
    blocks, layers = (tuple(dict.fromkeys(part)) for part in zip(*cells, strict=True))
    means = {
        name: dict(zip(cells, (_mean_and_error(seeds)[0] * factor).tolist(), strict=True)) for name, seeds in several.items()
    }
    top = max(abs(number) for mean in means.values() for number in mean.values())
    titles = [name if len(seeds) == 1 else f"{name}, mean of {len(seeds)} seeds" for name, seeds in several.items()]
    figure = make_subplots(rows=1, cols=len(means), subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.04)
    for column, (name, mean) in enumerate(means.items(), start=1):
        heat = go.Heatmap(
            name=name,
            x=short_names(layers),
            y=short_names(blocks),
            z=[[mean.get((block, layer)) for layer in layers] for block in blocks],  # None if the block has no such module
            zmin=-top,
            zmax=top,
            colorscale="PuOr_r",
            colorbar={"title": {"text": f"Shapley value of {title}", "side": "right"}},
            showscale=column == len(means),
            texttemplate=f"%{{z:.{digits}f}}",
            hoverongaps=False,
            hovertemplate=f"block %{{y}}, %{{x}}: %{{z:.{digits + 1}f}} {unit}",
            xgap=2,
            ygap=2,
        )
        figure.add_trace(heat, row=1, col=column)
    figure.update_xaxes(title="module", type="category", showgrid=False)
    figure.update_yaxes(type="category", showgrid=False)
    figure.update_yaxes(title="block, from the input up", row=1, col=1)
    return dress(figure, height=180 + 32 * len(blocks)).update_layout(margin={"t": 45})  # there is no legend


def _as_list(record: ShapleyValues | Sequence[ShapleyValues]) -> Sequence[ShapleyValues]:
    return [record] if isinstance(record, ShapleyValues) else record


def _same_game(several: Mapping[str, Sequence[ShapleyValues]]) -> tuple[tuple[str, ...], str, tuple[str, ...] | None]:
    games = {(record.players, record.value, record.blocks) for seeds in several.values() for record in seeds}
    if len(games) != 1:
        found = sorted(f"{value} of {len(players)} players from {players[0]!r}" for players, value, _ in games)
        raise ValueError(f"records must be of one game, with the same players and the same value; got {found}.")
    return games.pop()


def _mean_and_error(seeds: Sequence[ShapleyValues]) -> tuple[Tensor, Tensor | None, str]:
    """The mean over the seeds ``[n]``, the size of the error bars ``[n]``, and the name of what the error bars show."""
    values = torch.stack([record.values for record in seeds])
    if len(seeds) >= SPREAD_FROM:
        return values.mean(0), values.std(0), "standard deviation over seeds"
    if len(seeds) > 1:
        return values.mean(0), None, ""
    error = seeds[0].standard_error
    return values[0], error, "" if error is None else "standard error"


def short_names(names: Sequence[str]) -> list[str]:
    """The parts in which the dotted names differ, such as ``"0 query"`` for ``"vit.layers.0.attention.q_proj"``."""
    parts = [name.split(".") for name in names]
    if len({len(own) for own in parts}) != 1:
        return list(names)
    varying = [i for i, column in enumerate(zip(*parts, strict=True)) if len(set(column)) > 1] or [-1]
    return [" ".join(_KINDS.get(own[i], own[i]) for i in varying) for own in parts]
