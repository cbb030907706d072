"""The confusion matrix as two heat maps: one of mistakes, one of correct classifications."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import torch
from torch import Tensor

_FEW = 5  # the last colour of the scale means at least this many mistakes


def confusion_matrix(predicted: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """How many examples of each class (row) are classified as each class (column): int64 ``[n_classes, n_classes]``.

    Args:
        predicted: int64 ``[N]``.
        labels: int64 ``[N]``.
        n_classes: how many classes there are.

    Source: the layout of ``sklearn.metrics.confusion_matrix``.
    """
    return (labels * n_classes + predicted).bincount(minlength=n_classes**2).reshape(n_classes, n_classes)


def confusion_traces(labels: Tensor, classes: Sequence[str], kind: str) -> list[go.Heatmap]:
    """Empty heat maps of mistakes and of correct classifications; a count of 0 has no colour.

    Args:
        labels: classes of all examples, int64 ``[N]``.
        classes: names of the classes.
        kind: the word for an example, such as ``"image"``.
    """
    cells = {
        "x": list(classes), "y": list(classes), "z": [[None] * len(classes)] * len(classes), "texttemplate": "%{z}",
        "hoverongaps": False, "hovertemplate": f"%{{z}} {kind}s of a %{{y}}, classified as %{{x}}<extra></extra>",
        "xgap": 1, "ygap": 1,
    }  # fmt: skip
    orange, blue = [[0, "#FBE3D2"], [1, "#D55E00"]], [[0, "#DCE9F5"], [1, "#56A0D3"]]
    bar_of_colours = {"title": "mistakes", "x": 0.4, "len": 0.8, "y": 0.4, "thickness": 12}
    top = labels.bincount().max().item()
    return [
        go.Heatmap(name="mistakes", zmin=0, zmax=_FEW, colorscale=orange, colorbar=bar_of_colours, **cells),
        go.Heatmap(name="classified correctly", zmin=0, zmax=top, colorscale=blue, showscale=False, **cells),
    ]


def count_mistakes(mistakes: go.Heatmap, hits: go.Heatmap, predicted: Tensor, labels: Tensor, n_classes: int) -> None:
    """Fill the two heat maps in place; the colour scale of the mistakes ends at the count of the most frequent mistake."""
    matrix = confusion_matrix(predicted, labels, n_classes)
    diagonal = torch.eye(n_classes, dtype=torch.bool)
    wrong = matrix.masked_fill(diagonal, 0)
    mistakes.update(z=_counts(wrong), zmax=max(_FEW, int(wrong.max())))
    hits.update(z=_counts(matrix * diagonal))


def _counts(matrix: Tensor) -> list[list[int | None]]:
    """Rows of a heat map, with None for a count of 0."""
    return [[n or None for n in row] for row in matrix.tolist()]
