"""Values that differ between seeds or between blocks: each single value, and the mean."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from coto_lab.figures.style import dress, guess_marker, style

_WIDTH = 0.8  # width of a group; neighbouring groups are 1 apart


def spread_figure(
    groups: Mapping[str, Mapping[str, Tensor]], title: str, guesses: Mapping[str, float] | None = None, guessed: str = ""
) -> go.Figure:
    """One mark per value and a line at the mean; in every group the methods are side by side.

    Args:
        groups: name of a group -> method name -> values ``[S]``; every group has the same methods.
        title: title of the value axis, with the unit.
        guesses: the reader's guesses of the means in the group ``guessed``, per method; drawn as crosses.
        guessed: the group that the guesses are about.
    """
    figure = go.Figure()
    methods = list(next(iter(groups.values())))
    slot = _WIDTH / len(methods)
    for position, name in enumerate(methods):
        look = style(name, position)
        shift = (position - (len(methods) - 1) / 2) * slot
        for centre, (group, values) in enumerate(groups.items()):
            y = values[name].numpy()
            spots = np.linspace(-0.3, 0.3, len(y)) * slot if len(y) > 1 else np.zeros(1)
            marks = go.Scatter(
                name=name, legendgroup=name, showlegend=centre == 0, x=centre + shift + spots, y=y, mode="markers",
                marker={"color": look["color"], "symbol": look["symbol"], "size": 8, "opacity": 0.7},
                hovertemplate=f"{group}: %{{y:.1f}}<extra>{name}</extra>",
            )  # fmt: skip
            mean = go.Scatter(
                name=f"{name}, mean", legendgroup=name, showlegend=False, mode="lines",
                x=centre + shift + slot * np.array([-0.42, 0.42]), y=[y.mean()] * 2, line={"color": look["color"], "width": 3},
                hovertemplate=f"{group}, mean: %{{y:.1f}}<extra>{name}</extra>",
            )  # fmt: skip
            figure.add_traces([marks, mean])
            if guesses and name in guesses and group == guessed:
                figure.add_trace(guess_marker(name, centre + shift, guesses[name]))
    figure.update_xaxes(
        tickvals=list(range(len(groups))), ticktext=list(groups), range=[-0.5, len(groups) - 0.5], zeroline=False
    )
    figure.update_yaxes(title=title)
    return dress(figure, height=400)
