"""The figures of a report: those of the lab in colours of its own, and norms and singular values of the updates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from coto_lab.figures.shapley import short_names
from coto_lab.figures.style import STYLES, dress
from coto_lab.report.spectra import Spectra

_MOST = 32  # singular values of a block that are drawn
# Colours from the lowest block to the highest, readable on white and on black.
_DEPTH = [[0, "#0072B2"], [0.5, "#8C8C8C"], [1, "#D55E00"]]
Record = TypeVar("Record")


def drawn(draw: Callable[[dict[str, Record]], go.Figure], records: Mapping[str, Record], looks: Mapping[str, str]) -> go.Figure:
    """One of the lab's figures of records by method, for records by adapter.

    Args:
        draw: the figure of method name -> record.
        records: adapter -> record.
        looks: adapter -> the method whose colour it has (`choose_looks`).
    """
    names = {looks[name]: name for name in records}
    figure = draw({looks[name]: record for name, record in records.items()})
    for trace in figure.data:
        look, comma, rest = (trace.name or "").partition(",")
        trace.name = names.get(look, look) + comma + rest
    if len(records) == 1 and len([trace for trace in figure.data if trace.showlegend is not False]) == 1:
        figure.update_layout(showlegend=False, margin_t=24)  # its name is in the words above
    return figure


def choose_looks(wanted: Mapping[str, str]) -> dict[str, str]:
    """A look of `STYLES` for each adapter: the wanted one for the first that wants it, and another for the next.

    Adapters beyond the number of looks have names that are no look, and so the spare looks.
    """
    free, looks = list(STYLES), {}
    for number, (name, look) in enumerate(wanted.items(), 1):
        if free:
            looks[name] = look if look in free else free[0]
            free.remove(looks[name])
        else:
            looks[name] = f"adapter {number}"
    return looks


def norm_figure(found: Spectra) -> go.Figure:
    """‖ΔW‖ of every module as a heat map block × kind, in percent of ‖W‖ where the weight is known."""
    relative = bool(found.relative.isfinite().all())
    values = (100 * found.relative if relative else found.norm).tolist()
    rests = [name.removeprefix(f"{block}.") for name, block in zip(found.names, found.blocks, strict=True)]
    blocks, kinds = list(dict.fromkeys(found.blocks)), list(dict.fromkeys(rests))
    cells = dict(zip(zip(found.blocks, rests, strict=True), values, strict=True))
    title, unit = ("‖ΔW‖ / ‖W‖, %", "%") if relative else ("‖ΔW‖", "")
    heat = go.Heatmap(
        x=short_names(kinds),
        y=short_names(blocks),
        z=[[cells.get((block, kind)) for kind in kinds] for block in blocks],
        zmin=0,
        colorscale="Cividis",
        colorbar={"title": {"text": title, "side": "right"}},
        texttemplate="%{z:.3g}" if len(kinds) <= 8 and len(blocks) <= 32 else None,
        hoverongaps=False,
        hovertemplate=f"block %{{y}}, %{{x}}: %{{z:.3g}}{unit}<extra></extra>",
        xgap=2,
        ygap=2,
    )
    figure = go.Figure(heat)
    figure.update_xaxes(title="module", type="category", showgrid=False)
    figure.update_yaxes(title="block, from the input up", type="category", showgrid=False)
    return dress(figure, height=170 + 26 * len(blocks)).update_layout(margin={"t": 20})


def spectrum_figure(found: Spectra) -> go.Figure:
    """The singular values of each block's update, from the largest, one line per block (see `Spectra.block_spectrum`)."""
    names = list(dict.fromkeys(found.blocks))
    colors = sample_colorscale(_DEPTH, [i / max(1, len(names) - 1) for i in range(len(names))])
    figure, longest = go.Figure(), 1
    for name, short, color in zip(names, short_names(names), colors, strict=True):
        values = found.block_spectrum(name, _MOST)
        longest = max(longest, len(values))
        line = go.Scatter(
            name=f"block {short}",
            x=list(range(1, len(values) + 1)),
            y=values.tolist(),
            mode="lines+markers",
            line={"color": color, "width": 2},
            marker={"size": 6},
            hovertemplate="singular value %{x}: %{y:.3g}",
        )
        figure.add_trace(line)
    figure.update_xaxes(title="number of the singular value, from the largest", dtick=math.ceil(longest / 10))
    figure.update_yaxes(title="singular values of the block's modules,<br>root of the sum of squares", rangemode="tozero")
    return dress(figure, height=380)
