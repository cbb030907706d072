"""What one merged adapter scores on each of its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import plotly.graph_objects as go

from coto_lab.figures.redraw import redrawn
from coto_lab.figures.style import dress, guess_marker, style
from coto_lab.figures.theme import INK

MEAN = "mean"
_MARKS = (  # in the order in which frames are given
    {"symbol": "line-ew", "size": 46, "color": INK, "line": {"width": 3, "color": INK}},
    {"symbol": "diamond-open", "size": 11, "color": "#009E73", "line": {"width": 2, "color": "#009E73"}},
    {"symbol": "star-open", "size": 12, "color": "#A65FB5", "line": {"width": 2, "color": "#A65FB5"}},
)


def task_bars_figure(
    accuracy: Mapping[str, float],
    frame: Mapping[str, Mapping[str, float]] | None = None,
    name: str = "",
    examples: str = "the test set",
    guesses: Mapping[str, float] | None = None,
    figure: Any = None,
) -> Any:
    """A bar and a number for each task and for their mean; marks say what other adapters score on the same examples.

    Args:
        accuracy: task -> accuracy in percent; without tasks, only the marks are drawn.
        frame: what a mark stands for, such as ``"base model"`` -> task -> accuracy in percent; at most three.
        name: how the adapters were trained, ``"LoRA"`` or ``"CoTo"``, for the colour of the bars.
        examples: what was scored, in words, for the axis.
        guesses: task, or ``"mean"`` -> the reader's guess in percent; drawn as crosses.
        figure: a figure of an earlier call with the same tasks and marks, and without guesses, updated in place.
    """
    look, frame = style(name), frame or {}
    bars = _with_mean(accuracy)
    fresh = go.Figure(
        go.Bar(
            name="merged",
            x=list(bars),
            y=list(bars.values()),
            marker={
                "color": look["color"],
                "pattern": {"shape": look["pattern"], "fgcolor": "white", "fgopacity": 0.4, "size": 6},
            },
            hovertemplate="%{x}: %{y:.1f}%<extra>merged</extra>",
        )
    )
    for (what, values), mark in zip(frame.items(), _MARKS, strict=False):
        own = _with_mean(values)
        marks = go.Scatter(
            name=what,
            x=list(own),
            y=list(own.values()),
            mode="markers",
            marker=mark,
            cliponaxis=False,
            hovertemplate=f"%{{x}}: %{{y:.1f}}%<extra>{what}</extra>",
        )
        fresh.add_trace(marks)
    numbers = go.Scatter(  # below the bars: a mark would hide them in a bar, and a low bar has no room for them
        x=list(bars),
        y=[0] * len(bars),
        text=[f"{value:.0f}" for value in bars.values()],
        mode="text",
        textposition="bottom center",
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )
    fresh.add_trace(numbers)
    for place, guess in (guesses or {}).items():
        fresh.add_trace(guess_marker(place, place, guess).update(showlegend=False))
    fresh.update_yaxes(title=f"accuracy on {examples}, %", range=[0, 103])
    fresh.update_xaxes(showgrid=False, ticklabelstandoff=14)
    dress(fresh, height=400)
    return fresh if figure is None else redrawn(figure, fresh)


def _with_mean(values: Mapping[str, float]) -> dict[str, float]:
    return {**values, MEAN: fmean(values.values())} if values else {}
