"""Accuracy of runs of which only some adapters are kept."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from coto_lab.figures.style import dress, guess_marker, style
from coto_lab.figures.theme import INK, LABEL
from coto_lab.probes.pruning import PruningTable


def pruning_figure(
    tables: Mapping[str, PruningTable], guesses: Mapping[str, float] | None = None, guessed: str = "every other"
) -> go.Figure:
    """Test accuracy of every pruning pattern, one bar per method side by side; a line marks the base without adapter.

    Args:
        tables: method name -> table.
        guesses: the reader's guesses for the pattern ``guessed``, in percent, per method; drawn as crosses.
        guessed: the pattern that the guesses are about.
    """
    figure = go.Figure()
    for position, (name, table) in enumerate(tables.items()):
        look = style(name, position)
        shown = [(p, a) for p, a in zip(table.patterns, (table.accuracy * 100).tolist(), strict=True) if p != "none"]
        bar = go.Bar(
            name=name,
            x=[pattern for pattern, _ in shown],
            y=[accuracy for _, accuracy in shown],
            offsetgroup=name,
            marker={"color": look["color"], "pattern": {"shape": look["pattern"], "fgcolor": "white", "size": 6}},
            hovertemplate="%{x}: %{y:.1f}%<extra></extra>",
        )
        figure.add_trace(bar)
        if guesses and name in guesses:
            figure.add_trace(guess_marker(name, guessed, guesses[name]).update(offsetgroup=name))  # on the method's bar
    if "none" in table.patterns:
        base = table.accuracy[table.patterns.index("none")].item() * 100
        line = {"dash": "dot", "color": INK, "width": 2}
        words = {f"annotation_{key}": value for key, value in LABEL.items()}
        name = "base model, no adapter"  # written beside the line; a legend entry would need a trace as wide as the figure
        figure.add_hline(y=base, line=line, name=name, annotation_text=name, annotation_position="top left", **words)
    figure.update_xaxes(title="which adapters are kept")
    figure.update_yaxes(title="test accuracy, %", range=[0, 100])
    figure.update_layout(barmode="group", scattermode="group")
    return dress(figure, height=400)
