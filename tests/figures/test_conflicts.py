from __future__ import annotations

import torch

from coto_lab.figures import conflicts_figure
from coto_lab.probes.conflicts import Conflicts


def doubles(*values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def made(cosine: float, opposed: float) -> Conflicts:
    """Two adapters in two blocks, of the lengths 2 and 4 in the first and 1 and 1 in the second."""
    gram = doubles([[4, 8 * cosine], [8 * cosine, 16]], [[1, cosine], [cosine, 1]])
    pair = doubles([[0, opposed], [opposed, 0]], [[0, float("nan")], [float("nan"), 0]])
    return Conflicts(("a", "b"), ("layers.0", "layers.1"), gram, pair, doubles(2, 1), doubles(3, 0.5))


def test_four_panels_over_the_blocks() -> None:
    figure = conflicts_figure({"LoRA": made(0.5, 0.25), "CoTo": made(-0.5, 0.75)})
    panels = [(curve.xaxis or "x", list(curve.y)) for curve in figure.data[:4]]
    assert [list(curve.x) for curve in figure.data] == [["0", "1"]] * 8
    assert [values for _, values in (panels[0], panels[1], panels[3])] == [[3, 1], [0.5, 0.5], [1.5, 0.5]]
    assert panels[2][1][0] == 25 and panels[2][1][1] != panels[2][1][1], "no share where there is none"
    assert list(figure.data[5].y) == [-0.5, -0.5] and list(figure.layout.yaxis2.range) == [-0.55, 0.55]
    assert [curve.showlegend for curve in figure.data] == [True, False, False, False] * 2
    assert [figure.layout[f"yaxis{i}"].title.text for i in ("", 2, 3, 4)] == ["length", "cosine", "%", "times"]
    assert list(figure.layout.yaxis3.range) == [0, 103]
