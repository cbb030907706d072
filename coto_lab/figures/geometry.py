"""The geometry of adapters: angles between adapters, and a map."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from coto_lab.figures.style import dress, style
from coto_lab.figures.theme import GRID
from coto_lab.probes.geometry import Geometry

_ANNOTATED = 12  # with at most this many adapters, the numbers are written into the cells
_VECTORS = {"update": "updates ΔW", "factors": "factors A, B"}
_MAPS = {"pca": "PCA", "tsne": "t-SNE"}


def cosine_figure(geometry: Geometry) -> go.Figure:
    """Cosine similarity of every pair of adapters as a heat map; the diagonal, which is always 1, is grey.

    The colour scale is symmetric around 0 and ends at the largest absolute cosine of a pair.
    """
    n = len(geometry.names)
    cosine = geometry.cosine.tolist()
    off = [abs(cosine[i][j]) for i in range(n) for j in range(n) if i != j]
    top = max([value for value in off if value == value], default=1.0) or 1.0  # the cosine of an adapter that is 0 is NaN
    cells = [[value if i != j and value == value else None for j, value in enumerate(row)] for i, row in enumerate(cosine)]
    heat = go.Heatmap(
        x=list(geometry.names),
        y=list(geometry.names),
        z=cells,
        zmin=-top,
        zmax=top,
        colorscale="PuOr_r",
        colorbar={"title": "cosine"},
        hoverongaps=False,
        hovertemplate="%{y} and %{x}: %{z:.4f}<extra></extra>",
        texttemplate="%{z:.2f}" if n <= _ANNOTATED else None,
        xgap=1,
        ygap=1,
    )
    figure = go.Figure(heat)
    figure.update_xaxes(type="category", tickangle=-45, constrain="domain", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", scaleanchor="x", constrain="domain", showgrid=False)
    height = 260 + 40 * min(n, 14)
    title = f"cosine similarity of the {_VECTORS[geometry.space]}"
    return dress(figure, height).update_layout(
        title={"text": title, "x": 0.5}, margin={"t": 50, "l": 110, "b": 110}, plot_bgcolor=GRID
    )


def embedding_figure(
    geometry: Geometry,
    methods: Mapping[str, str],
    texts: Mapping[str, str] | None = None,
    how: str = "pca",
    seed: int = 0,
) -> go.Figure:
    """A map of the adapters in the plane, one colour and symbol per method.

    Args:
        geometry: the adapters.
        methods: adapter name -> method, for all adapters.
        texts: adapter name -> text beside its point (a seed, a learning rate). By default there is no text, and the name is
            shown on hover.
        how: ``"pca"`` or ``"tsne"`` (`Geometry.embedding`).
        seed: seed of t-SNE.

    Raises:
        ValueError: an adapter has no method, or ``how`` is unknown.
    """
    if missing := [name for name in geometry.names if name not in methods]:
        raise ValueError(f"methods lacks {missing}: give a method for every adapter.")
    points = geometry.embedding(how, seed)
    figure = go.Figure()
    for position, method in enumerate(dict.fromkeys(methods[name] for name in geometry.names)):
        look = style(method, position)
        mine = [i for i, name in enumerate(geometry.names) if methods[name] == method]
        names = [geometry.names[i] for i in mine]
        trace = go.Scatter(
            name=method,
            x=points[mine, 0].numpy(),
            y=points[mine, 1].numpy(),
            mode="markers+text" if texts else "markers",
            marker={"color": look["color"], "symbol": look["symbol"], "size": 11, "line": {"color": "white", "width": 1}},
            text=[texts.get(name, "") for name in names] if texts else None,
            textposition="top center",
            hovertext=names,
            hovertemplate="%{hovertext}<br>(%{x:.2f}, %{y:.2f})<extra></extra>",
            cliponaxis=False,
        )
        figure.add_trace(trace)
    first, second = _axes(geometry, how)
    figure.update_xaxes(title=first, zeroline=False)
    figure.update_yaxes(title=second, zeroline=False, scaleanchor="x")  # one scale for both axes, so that distances are right
    title = f"map of the {_VECTORS[geometry.space]}, {_MAPS[how]}"
    return dress(figure, 480).update_layout(title={"text": title, "x": 0.07, "y": 0.94})


def _axes(geometry: Geometry, how: str) -> list[str]:
    if how == "tsne":
        return ["first coordinate (no unit)", "second coordinate (no unit)"]
    total = geometry.gram.trace() - geometry.gram.sum() / len(geometry.names)  # the sum of squared distances to the mean
    shares = (geometry.embedding().square().sum(0) / total).tolist()
    return [f"principal axis {i}, {share:.0%} of the variance" for i, share in enumerate(shares, start=1)]
