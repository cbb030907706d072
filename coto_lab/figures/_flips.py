"""The strip below a figure of mixtures: digits that are classified differently here than by the first run alone."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from torch import Tensor

from coto_lab.figures._theme import INK
from coto_lab.figures._tiles import TILES, WRONG, tile_strip
from coto_lab.probes.flips import Flips

_SHAPE = (2, 10)  # rows and columns of the strip
SHOWN = 20
FLIPS_TITLE = "classified differently than by the first run alone (below: true digit: before→now)"


def add_flips(figure: go.Figure, row: int, flips: Flips | None, images: Tensor, classes: Sequence[str]) -> None:
    """Draw the first flips into the subplot that fills ``row`` of ``figure``: a trace of images and one of words.

    Args:
        figure: changed in place.
        row: of `make_subplots`, from 1.
        flips: None leaves the strip empty.
        images: of the whole split, ``[N, 1, height, width]`` in [-1, 1], ink 1.
        classes: their names.
    """
    columns = [] if flips is None else [flips.indices, flips.labels, flips.before, flips.now]
    shown = list(zip(*(column[:SHOWN].tolist() for column in columns), strict=True))
    sheet, middles, words = tile_strip(images[[index for index, *_ in shown]], _SHAPE)
    text = [f"{classes[true]}: {classes[before]}→{classes[now]}" for _, true, before, now in shown]
    colors = [INK if now == true else WRONG for _, true, _, now in shown]
    places = [divmod(i, _SHAPE[1]) for i in range(len(shown))]
    grey = go.Heatmap(name="flips", z=sheet.numpy(), **TILES)
    below = go.Scatter(
        name="what was read",
        x=[middles[column] for _, column in places],
        y=[words[line] for line, _ in places],
        mode="text",
        text=text,
        textfont={"color": colors},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_traces([grey, below], rows=row, cols=1)
    x = next(figure.select_xaxes(row=row))
    height, width = sheet.shape
    figure.update_xaxes(visible=False, range=[-0.5, width - 0.5], constrain="domain", row=row)
    figure.update_yaxes(
        visible=False,
        range=[height - 0.5, -2.5],  # row 0 on top, a little below the title
        scaleanchor=x.plotly_name.replace("axis", ""),
        constrain="domain",
        row=row,
    )
