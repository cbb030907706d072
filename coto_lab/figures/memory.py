"""What the memory of a training is for."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from coto_lab.figures.style import dress, guess_marker
from coto_lab.figures.theme import INK
from coto_lab.probes.memory import Memory, in_words

# Colours from cividis, and patterns as a second cue; no method has one of them.
_LOOKS = (("#00224E", ""), ("#FEE838", "/"))


def memory_figure(memory: Memory, guesses: Mapping[str, float] | None = None) -> go.Figure:
    """One bar for each part of the memory of a training, in percent of the whole; and the same with checkpointing.

    Args:
        memory: of an `Estimate`.
        guesses: the reader's guesses by the name of the part (``"weights"``, ``"gradients"``, ``"optimiser"``,
            ``"activations"``), in percent of the memory without checkpointing; drawn as crosses.
    """
    parts = {"weights": memory.weights, "gradients": memory.gradients, "optimiser": memory.optimiser}
    kinds = {"all activations kept": memory.activations}
    if memory.checkpointed is not None:
        kinds["gradient checkpointing"] = memory.checkpointed
    whole = sum(parts.values()) + memory.activations
    figure = go.Figure()
    for (kind, activations), (color, pattern) in zip(kinds.items(), _LOOKS, strict=False):
        amounts = parts | {"activations": activations}
        figure.add_bar(
            name=f"{kind}: {in_words(sum(amounts.values()))}",
            x=list(amounts),
            y=[100 * amount / whole for amount in amounts.values()],
            text=[in_words(amount) for amount in amounts.values()],
            textposition="outside",
            cliponaxis=False,
            marker={
                "color": color,
                "pattern": {"shape": pattern, "fgcolor": "white", "size": 6},
                "line": {"color": INK, "width": 1},
            },
            hovertemplate="%{x}: %{text}, %{y:.1f}%",
        )
    for name, percent in (guesses or {}).items():
        figure.add_trace(guess_marker(name, name, percent))
    figure.update_layout(barmode="group")
    figure.update_yaxes(title="% of the memory without checkpointing", range=[0, 110])
    return dress(figure, height=380)
