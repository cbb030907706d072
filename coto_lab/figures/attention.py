"""Attention of a language model to the characters of a prompt, as heat maps side by side."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from coto_lab.figures.style import dress
from coto_lab.probes.attention import AttentionMaps


def attention_figure(maps: Mapping[str, AttentionMaps], block: int, head: int | None = None) -> go.Figure:
    """One heat map per model: a row for each character of the answer, a column for each place that can be looked at.

    Args:
        maps: name of the model -> its attention, all on examples of the same lengths.
        block: which block, from 0.
        head: which head, from 0; with None, the mean of all heads.

    Raises:
        ValueError: there are no maps, they are of different shapes, or there is no such block or head.
    """
    shapes = {(tuple(found.weights.shape), found.prompt) for found in maps.values()}
    if len(shapes) != 1:
        raise ValueError(f"maps must be of one model and of examples of the same lengths, at least one; got {sorted(shapes)}.")
    ((blocks, heads, n_answer, n_places), prompt) = shapes.pop()
    for name, number, n in (("block", block, blocks), ("head", head, heads)):
        if number is not None and not 0 <= number < n:
            raise ValueError(f"{name}={number}: must be from 0 to {n - 1}.")
    rows = [str(i + 1) for i in range(n_answer - 1)] + [";"]
    columns = ["sign", *(str(i + 1) for i in range(prompt - 2)), "=", *(f"a{i + 1}" for i in range(n_places - prompt))]
    figure = make_subplots(rows=1, cols=len(maps), subplot_titles=list(maps), shared_yaxes=True, horizontal_spacing=0.03)
    for position, (name, found) in enumerate(maps.items()):
        weights = found.weights[block].mean(0) if head is None else found.weights[block, head]
        shares = (100 * weights.double()).tolist()
        later = torch.ones(n_answer, n_places).triu(prompt).bool().tolist()  # is written after this character, so never seen
        heat = go.Heatmap(
            name=name,
            x=columns,
            y=rows,
            z=[
                [None if unseen else share for share, unseen in zip(*row, strict=True)]
                for row in zip(shares, later, strict=True)
            ],
            coloraxis="coloraxis",
            hoverongaps=False,
            hovertemplate="writing %{y}, looking at %{x}: %{z:.0f}%<extra>%{fullData.name}</extra>",
            xgap=1,
            ygap=1,
        )
        figure.add_trace(heat, row=1, col=position + 1)
    figure.update_xaxes(title="place looked at", type="category", tickangle=0, showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.update_yaxes(title="answer character", row=1, col=1)
    who = "mean of the heads" if head is None else f"head {head}"
    bar = {"title": {"text": f"attention, %<br>block {block},<br>{who}"}, "thickness": 12}
    scale = {"colorscale": "Cividis", "cmin": 0, "cmax": 100, "colorbar": bar}
    return dress(figure, height=340).update_layout(coloraxis=scale, margin={"t": 45})  # there is no legend
