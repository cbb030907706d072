from __future__ import annotations

import numpy as np
import torch

from coto_lab.figures import owen_figure

GLOVES = torch.tensor([0.0, 0, 0, 1, 0, 1, 0, 1], dtype=torch.float64)


def test_curves_run_from_alone_to_last_and_the_dot_is_their_mean() -> None:
    figure = owen_figure({"LoRA": GLOVES, "CoTo": 0.5 * GLOVES}, ["left", "right 1", "right 2"])
    lines, dots = figure.data[::2], figure.data[1::2]
    left = np.asarray(lines[0].y)
    p = np.asarray(lines[0].x)
    np.testing.assert_allclose(left, 100 * (1 - (1 - p) ** 2), atol=1e-9)  # some right glove is there
    np.testing.assert_allclose(lines[1].y, 100 * p * (1 - p), atol=1e-9)  # the left one is, and the other right one is not
    np.testing.assert_allclose([dot.y[0] for dot in dots], [400 / 6, 100 / 6, 100 / 6, 200 / 6, 50 / 6, 50 / 6])
    assert [trace.showlegend for trace in lines] == [True] * 3 + [False] * 3
    assert [annotation.text for annotation in figure.layout.annotations] == ["LoRA", "CoTo"]
    assert "points" in figure.layout.yaxis.title.text and figure.layout.height
