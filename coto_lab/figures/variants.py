"""What CoTo changes for each variant of LoRA: differences with their intervals, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from coto_lab.figures.style import STYLES, dress
from coto_lab.figures.theme import INK

Interval = tuple[float, float, float]


def variants_figure(differences: Mapping[str, Mapping[str, Interval]]) -> go.Figure:
    """CoTo - plain for each method, one panel per score; a marker is filled where the interval excludes 0.

    Args:
        differences: title of a panel -> method -> mean and both ends of the interval, in points of test accuracy.
    """
    figure = make_subplots(
        rows=1, cols=len(differences), subplot_titles=list(differences), shared_yaxes=True, horizontal_spacing=0.03
    )
    color = STYLES["CoTo"]["color"]
    for column, (title, own) in enumerate(differences.items(), start=1):
        clear = [low > 0 or high < 0 for _, low, high in own.values()]
        points = go.Scatter(
            name=title,
            showlegend=False,
            x=[mean for mean, _, _ in own.values()],
            y=list(own),
            mode="markers",
            marker={"color": color, "size": 8, "symbol": ["circle" if it_is else "circle-open" for it_is in clear]},
            error_x={
                "array": [high - mean for mean, _, high in own.values()],
                "arrayminus": [mean - low for mean, low, _ in own.values()],
                "color": color,
                "thickness": 1.5,
                "width": 3,
            },
            customdata=[(low, high) for _, low, high in own.values()],
            hovertemplate="%{y}: %{x:+.1f} points, from %{customdata[0]:+.1f} to %{customdata[1]:+.1f}<extra></extra>",
        )
        figure.add_trace(points, row=1, col=column)
        figure.add_vline(x=0, line={"color": INK, "width": 1, "dash": "dot"}, row=1, col=column)
    methods = max(map(len, differences.values()), default=0)
    figure.update_xaxes(title="CoTo - plain, points")
    figure.update_yaxes(autorange="reversed", dtick=1)  # the first method on top, and no name left out
    return dress(figure, height=140 + 22 * methods).update_layout(margin_l=110)
