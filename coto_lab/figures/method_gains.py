"""For how many methods CoTo is better, score by score."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from coto_lab.figures.style import GUESS_COLOR, STYLES, dress, guess_marker
from coto_lab.figures.variants import Interval

BETTER, OPEN, WORSE = "CoTo better", "inconclusive", "plain better"
_LOOKS = {
    BETTER: {"color": STYLES["CoTo"]["color"], "pattern": ""},
    OPEN: {"color": GUESS_COLOR, "pattern": "."},
    WORSE: {"color": STYLES["LoRA"]["color"], "pattern": "/"},
}


def verdicts(differences: Mapping[str, Interval]) -> dict[str, list[str]]:
    """The methods for which the interval of CoTo - plain lies above 0, contains 0, or lies below it.

    Args:
        differences: method -> mean and both ends of the interval.
    """
    found: dict[str, list[str]] = {BETTER: [], OPEN: [], WORSE: []}
    for method, (_, low, high) in differences.items():
        found[BETTER if low > 0 else WORSE if high < 0 else OPEN].append(method)
    return found


def gains_figure(differences: Mapping[str, Mapping[str, Interval]], guesses: Mapping[str, float] | None = None) -> go.Figure:
    """For each score a bar of all methods, in percent: for how many CoTo is better, worse, or neither.

    Args:
        differences: score -> method -> mean of CoTo - plain and both ends of its interval.
        guesses: score -> the reader's guess for how many percent of the methods CoTo is better; drawn as crosses.
    """
    found = {score: verdicts(own) for score, own in differences.items()}
    figure = go.Figure()
    for verdict, look in _LOOKS.items():
        methods = [own[verdict] for own in found.values()]
        bar = go.Bar(
            name=verdict,
            x=list(found),
            y=[100 * len(own) / len(differences[score]) for score, own in zip(found, methods, strict=True)],
            text=[len(own) or "" for own in methods],
            customdata=[", ".join(own) for own in methods],
            marker={"color": look["color"], "pattern": {"shape": look["pattern"], "fgcolor": "white", "size": 6}},
            textangle=0,
            insidetextanchor="middle",
            insidetextfont_color="white",
            hovertemplate="%{x}: %{y:.0f}%<br>%{customdata}<extra>%{fullData.name}</extra>",
        )
        figure.add_trace(bar)
    for score, guess in (guesses or {}).items():
        figure.add_trace(guess_marker(score, score, guess).update(showlegend=False))
    figure.update_yaxes(title="% of the methods", range=[0, 103])
    return dress(figure, height=380).update_layout(barmode="stack", legend_traceorder="normal")
