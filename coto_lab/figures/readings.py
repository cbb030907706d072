"""What several models read in one image: how certain each is of every class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from jaxtyping import Float
from torch import Tensor

from coto_lab.figures.redraw import redrawn
from coto_lab.figures.style import GUESS_COLOR, dress, style

BASE = "Base"  # the name of what is drawn in grey


def readings_figure(
    classes: Sequence[str], readings: Mapping[str, Float[Tensor, " {len(classes)}"] | None], figure: Any = None
) -> Any:
    """Bars of the certainties of all classes, side by side for each model.

    Args:
        classes: the names of the classes.
        readings: model -> certainties, which sum to 1; None, where there is no image yet, draws no bars. ``"Base"`` is grey.
        figure: a figure of an earlier call with the same classes and models, updated in place; None makes a new one.
    """
    fresh = go.Figure()
    for position, (name, shares) in enumerate(readings.items()):
        look = style(name, position) if name != BASE else {"color": GUESS_COLOR, "pattern": ""}
        bar = go.Bar(
            name=name,
            x=list(classes),
            y=[0.0] * len(classes) if shares is None else (100 * shares).tolist(),
            offsetgroup=name,
            marker={"color": look["color"], "pattern": {"shape": look["pattern"], "fgcolor": "white", "size": 6}},
            hovertemplate=f"%{{x}}: %{{y:.1f}}%<extra>{name}</extra>",
        )
        fresh.add_trace(bar)
    fresh.update_xaxes(title="class", type="category")  # digits are names here, not numbers
    fresh.update_yaxes(title="certainty, %", range=[0, 101])
    return redrawn(figure, fresh) if figure is not None else dress(fresh, height=300)
