from __future__ import annotations

import torch

from coto_lab.figures import first_step_figure
from coto_lab.figures.first_step import DESCENT
from coto_lab.probes.first_step import FirstSteps

GRADIENT = torch.tensor([[3.0, 0.0], [0.0, 4.0]]).double()
CHANGES = {"down": -2 * GRADIENT, "aside": torch.tensor([[0.0, 1], [0, 0]]).double(), "up": GRADIENT}


def test_maps_have_length_1_and_bars_are_the_cosines() -> None:
    figure = first_step_figure(FirstSteps(GRADIENT, torch.zeros(1, 2), torch.zeros(2, 1), CHANGES))
    *maps, bars = figure.data
    assert [heat.name for heat in maps] == list(bars.x) == [DESCENT, *CHANGES]
    for heat, move in zip(maps, [-GRADIENT, *CHANGES.values()], strict=True):
        torch.testing.assert_close(torch.tensor(heat.z), (move / move.norm()).float())
    assert [round(value, 6) for value in bars.y] == [1, 1, 0, -1]
    low, high = figure.select_yaxes(row=2).__next__().range
    assert low < -1 and high > 1, "no bar is cut off"
    assert {axis.title.text for axis in figure.select_yaxes()} >= {"output", "cosine with gradient descent"}
