"""Bars of what models read in one image."""

from __future__ import annotations

import numpy as np
import torch

from coto_lab.figures import STYLES, readings_figure

CLASSES = "0123456789"


def test_each_model_has_a_bar_for_each_class() -> None:
    shares = {name: torch.softmax(torch.arange(10) * factor, 0) for name, factor in (("Base", 0.1), ("CoTo", 2.0))}
    figure = readings_figure(CLASSES, shares)
    for bar, (name, expected) in zip(figure.data, shares.items(), strict=True):
        assert (bar.name, bar.x) == (name, tuple(CLASSES))
        np.testing.assert_allclose(bar.y, 100 * expected)
    assert figure.data[1].marker.color == STYLES["CoTo"]["color"]
    assert figure.data[0].marker.color not in {look["color"] for look in STYLES.values()}
    assert figure.layout.xaxis.type == "category"


def test_it_is_redrawn_in_place() -> None:
    figure = readings_figure(CLASSES, {"LoRA": None})
    assert set(figure.data[0].y) == {0}
    assert readings_figure(CLASSES, {"LoRA": torch.eye(10)[3]}, figure) is figure
    assert figure.data[0].y[3] == 100
