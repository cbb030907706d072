from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from coto_lab import Run
from coto_lab.figures._style import STYLES
from coto_lab.figures.cost import cost_figure
from coto_lab.history import History
from coto_lab.probes.cost import Cost

COST = Cost(0.01, 0.002, 0.003, torch.ones(1, 4, dtype=torch.bool), torch.tensor([0.03], dtype=torch.float64))


@pytest.fixture
def histories(runs: tuple[Run, Run]) -> tuple[History, History]:
    """Half of the steps with one block open, then all; the measured seconds are given."""
    half = torch.ones(16, 4, dtype=torch.bool)
    half[:8, :3] = False
    coto, lora = (
        replace(runs[0].history, mask=mask, seconds=torch.full((16,), seconds, dtype=torch.float64))
        for mask, seconds in ((half, 0.03), (torch.ones_like(half), 0.04))
    )
    return coto, lora


def test_titles_tell_both_savings(histories: tuple[History, History]) -> None:
    titles = [annotation.text for annotation in cost_figure(COST, *histories).layout.annotations]
    # One open block costs 10 + 2 + 3 = 15 ms, four cost 10 + 8 + 12 = 30.
    assert titles == ["predicted from the masks: CoTo saves 25.0%", "measured: CoTo saves 25.0%"]


def test_predicted_on_the_left_measured_on_the_right_in_ms(histories: tuple[History, History]) -> None:
    figure = cost_figure(COST, *histories)
    expected = {
        ("CoTo", "x"): [15] * 8 + [30] * 8,
        ("CoTo", "x2"): [30] * 16,
        ("LoRA", "x"): [30] * 16,
        ("LoRA", "x2"): [40] * 16,
    }
    assert {(trace.name, trace.xaxis) for trace in figure.data} == expected.keys()
    for trace in figure.data:
        np.testing.assert_allclose(trace.y, expected[trace.name, trace.xaxis], rtol=1e-6)
        assert trace.line.color == STYLES[trace.name]["color"] and trace.showlegend == (trace.xaxis == "x")
    assert figure.layout.yaxis.title.text.startswith("ms per step") and figure.layout.xaxis2.title.text == "optimiser step"


def test_bad_input_is_refused(histories: tuple[History, History]) -> None:
    coto, lora = histories
    with pytest.raises(ValueError, match=r"masks must be a BoolTensor \[T, 2\]"):
        cost_figure(replace(COST, masks=torch.ones(1, 2, dtype=torch.bool)), coto, lora)
    with pytest.raises(ValueError, match="histories of 16 and 0 steps"):
        cost_figure(COST, coto, History.from_steps([], lora.gates, lora.modules, lora.gate_of_module))
