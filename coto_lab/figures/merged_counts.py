"""Accuracy against the number of tasks that were merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from coto_lab.figures.style import dress, stroke

_COLUMNS = 4


def merged_counts_figure(counts: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]]) -> go.Figure:
    """One panel per rule: the mean accuracy on the merged tasks, for each number of tasks; a line for each way of training.

    The line is the mean of the seeds, and the bars go from the lowest to the highest seed.

    Args:
        counts: rule -> ``"LoRA"`` or ``"CoTo"`` -> number of tasks -> accuracy in percent, one number for each seed.
    """
    rows = -(-len(counts) // _COLUMNS)
    figure = make_subplots(
        rows=rows,
        cols=min(_COLUMNS, len(counts)),
        subplot_titles=list(counts),
        shared_yaxes=True,
        horizontal_spacing=0.02,
        vertical_spacing=0.3 / rows,
    )
    for place, (rule, ways) in enumerate(counts.items()):
        row, column = divmod(place, _COLUMNS)
        for position, (way, own) in enumerate(ways.items()):
            means = [fmean(values) for values in own.values()]
            line = go.Scatter(
                name=way,
                legendgroup=way,
                showlegend=place == 0,
                x=[int(n) for n in own],
                y=means,
                error_y={
                    "array": [max(values) - mean for values, mean in zip(own.values(), means, strict=True)],
                    "arrayminus": [mean - min(values) for values, mean in zip(own.values(), means, strict=True)],
                    "thickness": 1,
                    "width": 3,
                },
                mode="lines+markers",
                hovertemplate=f"{rule}, %{{x}} tasks: %{{y:.1f}}%<extra>{way}</extra>",
                **stroke(way, position),
            )
            figure.add_trace(line, row=row + 1, col=column + 1)
    figure.update_yaxes(range=[0, 103])
    figure.update_yaxes(title="accuracy, %", col=1)
    figure.update_xaxes(dtick=1, range=[1.6, 6.4])
    figure.update_xaxes(title={"text": "tasks merged", "standoff": 4}, row=rows)
    return dress(figure, height=170 * rows + 110)
