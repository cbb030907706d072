from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from coto_lab import Run
from coto_lab.figures.cost import cost_figure, step_cost_figure
from coto_lab.figures.style import STYLES
from coto_lab.probes.cost import Cost
from coto_lab.training.history import History

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
    assert titles == ["predicted: CoTo saves 25.0%", "measured: CoTo saves 25.0%"]


def test_steps_in_percent_of_lora_predicted_on_the_left_measured_on_the_right(histories: tuple[History, History]) -> None:
    coto, lora = histories
    halt = coto.seconds.clone()
    halt[3] = 1  # a hiccup: seen in the dots, not in the line
    figure = cost_figure(COST, replace(coto, seconds=halt), lora)
    expected = {"x": [50] * 8 + [100] * 8, "x2": [75] * 3 + [2500] + [75] * 12}
    for trace in figure.data:
        if trace.name == "CoTo, single steps":
            np.testing.assert_allclose(trace.y, expected[trace.xaxis], rtol=1e-6)
        assert trace.legendgroup == trace.name and trace.showlegend == (trace.xaxis == "x")
        look = STYLES["LoRA" if trace.name == "LoRA" else "CoTo"]
        assert look["color"] in (trace.line.color, trace.marker.color)
    assert (
        figure.layout.yaxis.title.text.startswith("time of a step, %") and figure.layout.xaxis2.title.text == "optimiser step"
    )


def test_the_line_is_a_running_median(histories: tuple[History, History]) -> None:
    coto, lora = (
        replace(
            history,
            mask=history.mask.repeat(2, 1),
            module_grad_norm=history.module_grad_norm.repeat(2, 1),
            **{name: getattr(history, name).repeat(2) for name in ("seconds", "loss", "lr", "p")},
        )
        for history in histories
    )
    coto.seconds[5], coto.seconds[10:] = 1, 0.02
    line = next(trace for trace in cost_figure(COST, coto, lora).data if trace.xaxis == "x2" and "median" in trace.name)
    assert line.name == "CoTo, median of 3 steps"
    np.testing.assert_allclose(line.y, [75] * 11 + [50] * 21)


def test_bad_input_is_refused(histories: tuple[History, History]) -> None:
    coto, lora = histories
    with pytest.raises(ValueError, match=r"masks must be a BoolTensor \[T, 2\]"):
        cost_figure(replace(COST, masks=torch.ones(1, 2, dtype=torch.bool)), coto, lora)
    with pytest.raises(ValueError, match="histories of 16 and 0 steps"):
        cost_figure(COST, coto, History.from_steps([], lora.gates, lora.modules, lora.gate_of_module))


MEASURED = replace(
    COST,
    masks=torch.tensor([[1, 1, 1, 1], [0, 0, 0, 1], [0, 0, 1, 1], [1, 0, 0, 0], [1, 0, 1, 0]], dtype=torch.bool),
    seconds=torch.tensor([0.031, 0.015, 0.02, 0.022, 0.024], dtype=torch.float64),
)


def test_the_parts_of_a_step_are_stacked_and_the_cheapest_stands_first() -> None:
    figure = step_cost_figure(MEASURED)
    *bars, measured = figure.data
    names = ["only 3", "2 to 3", "only 0", "0, 2", "0 to 3"]
    expected = {
        "fixed": [10] * 5,
        "backward through the base": [2, 4, 8, 8, 8],
        "adapters": [3, 6, 3, 6, 12],
    }
    assert {bar.name: bar.y for bar in bars} == {name: pytest.approx(values) for name, values in expected.items()}
    assert all(list(trace.x) == names for trace in figure.data) and figure.layout.barmode == "stack"
    assert measured.name == "measured" and measured.y == pytest.approx([15, 20, 22, 24, 31])
    assert not {bar.marker.color for bar in bars} & {look["color"] for look in STYLES.values()}, "methods have those"


def test_guesses_stand_over_their_bars_in_ms() -> None:
    *_, guess = step_cost_figure(MEASURED, {"only 3": 50}).data
    assert list(guess.x) == ["only 3"] and guess.y == pytest.approx([15.5])  # half of the 31 ms measured with all open
    assert "your guess" in guess.name
