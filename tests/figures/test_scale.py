"""The figure of a scaled update: curves, marks and maps are what was handed over, on scales that stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coto_lab.figures.scale import scale_figure

FACTORS = torch.tensor([0.0, 1.0, 2.0])
ACCURACY = {"LoRA": torch.tensor([0.4, 0.9, 0.7]), "CoTo": torch.tensor([0.4, 0.95, 0.6])}
UPDATES = {"LoRA": torch.tensor([[1.0, -3.0, 0.0]]), "CoTo": torch.tensor([[2.0, 1.0, 0.5]])}
MARKED = {"LoRA": 0.85, "CoTo": 0.92}


def test_curves_marks_and_maps() -> None:
    figure = scale_figure(FACTORS, ACCURACY, 0.5, MARKED, UPDATES)
    lora, lora_here, coto, coto_here, *maps = figure.data
    np.testing.assert_allclose(lora.y, [40, 90, 70], rtol=1e-6)
    np.testing.assert_allclose(coto.y, [40, 95, 60], rtol=1e-6)
    assert [(mark.x, mark.y) for mark in (lora_here, coto_here)] == [((0.5,), (85.0,)), ((0.5,), (92.0,))]
    np.testing.assert_allclose([heat.z[0] for heat in maps], [[0.5, -1.5, 0.0], [1.0, 0.5, 0.25]])
    assert [note.text for note in figure.layout.annotations] == ["test accuracy", "LoRA: 0.5 · ΔW", "CoTo: 0.5 · ΔW"]
    assert figure.layout.shapes[0].x0 == 0.5


@pytest.mark.parametrize("at", [0.0, 1.0, 2.0])
def test_redrawn_in_place_the_scales_stay(at: float) -> None:
    figure = scale_figure(FACTORS, ACCURACY, 0.5, MARKED, UPDATES)
    layout = figure.layout.coloraxis.to_plotly_json(), figure.layout.yaxis.range
    assert scale_figure(FACTORS, ACCURACY, at, MARKED, UPDATES, figure) is figure
    assert figure.data[1].x == (at,) and figure.layout.shapes[0].x0 == at
    np.testing.assert_allclose(figure.data[4].z, at * UPDATES["LoRA"])
    assert (figure.layout.coloraxis.to_plotly_json(), figure.layout.yaxis.range) == layout
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-3, 3)
