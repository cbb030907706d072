from __future__ import annotations

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from coto_lab import Constant, Exponential, Linear, Run, Sine, Task, Training
from coto_lab.figures import STYLES, plan_figure, ramp_figure, schedule_figure
from coto_lab.figures.style import smooth
from coto_lab.gating.coto import expected_open, probabilities, tilted, training_masks
from coto_lab.probes.cost import spared


def traces(figure: go.Figure) -> dict[str, go.Scatter]:
    return {trace.name: trace for trace in figure.data}


def plan(schedule: object, n_blocks: int, steps: int, figure: go.Figure | None = None, time_saved: float | None = None):
    masks = training_masks(n_blocks, schedule, total_steps=steps, seed=0)
    return plan_figure(schedule, masks, time_saved, figure)


def test_schedule_figure_holds_what_coto_will_do(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    coto = Training(tiny_task, runs[0].recipe).coto
    shown = traces(schedule_figure(coto))
    p = [coto.probability(step) for step in range(16)]
    np.testing.assert_allclose(shown["p(t)"].y, p, rtol=1e-6)
    assert all(before <= after for before, after in pairwise(shown["p(t)"].y))
    np.testing.assert_array_equal(shown["gates"].z, coto.masks().T.int().numpy())
    assert list(shown["gates"].y) == ["0", "1", "2", "3"]
    np.testing.assert_allclose(shown["open blocks, drawn (mean of 20 steps)"].y, smooth(coto.masks().sum(1)).numpy())
    np.testing.assert_allclose(shown["open blocks, expected"].y, expected_open(4, np.array(p)[:, None]), rtol=1e-6)


def test_schedule_figure_expects_what_a_tilt_does(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    coto = Training(tiny_task, runs[0].recipe).coto
    coto.tilt = 1.0
    p = probabilities(coto.schedule, 16)[:, None]
    expected = traces(schedule_figure(coto))["open blocks, expected"].y
    np.testing.assert_allclose(expected, expected_open(4, tilted(p, 4, 1.0)), rtol=1e-6)
    assert not np.allclose(expected, expected_open(4, p))


def test_number_of_open_blocks_and_probability_share_one_scale() -> None:
    figure = plan(Constant(0.5), 12, 40)  # p = 0.5 and 6 of 12 blocks are at one height
    p, open_blocks = figure.layout.yaxis.range, figure.layout.yaxis2.range
    assert [12 * end for end in p] == list(open_blocks)
    assert "probability" in figure.layout.yaxis.title.text and "open blocks" in figure.layout.yaxis2.title.text


def test_plan_figure_counts_how_often_a_block_trains_and_what_is_spared() -> None:
    schedule = Linear()
    masks = training_masks(8, schedule, total_steps=200, seed=0)
    shown = traces(plan_figure(schedule, masks))
    np.testing.assert_allclose(shown["trained"].x, masks.double().mean(0).numpy(), rtol=1e-6)
    assert list(shown["spared"].y) == ["adapters", "backward"] and tuple(shown["spared"].x) == spared(masks)
    towers = torch.arange(8) // 4
    apart = traces(plan_figure(schedule, masks, towers=towers))["spared"]
    assert tuple(apart.x) == spared(masks, towers) and apart.x[1] > shown["spared"].x[1]
    timed = traces(plan_figure(schedule, masks, 0.125))["spared"]
    assert (timed.y[-1], timed.x[-1], timed.text[-1]) == ("time", 0.125, "12%")
    exact = expected_open(8, probabilities(schedule, 200)[:, None]).mean() / 8
    assert list(shown["expected share"].x) == [exact, exact]


def test_plan_figure_is_updated_in_place() -> None:
    figure = plan(Linear(), 8, 800, time_saved=0.25)
    before = figure.data
    for schedule, n_blocks, steps in ((Constant(0.25), 1, 10), (Exponential(), 32, 1000), (Sine(0.1, 0.9, 0.5), 3, 123)):
        assert plan(schedule, n_blocks, steps, figure) is figure
        assert all(one is other for one, other in zip(before, figure.data, strict=True))
        assert figure.to_json() == plan(schedule, n_blocks, steps).to_json()
        assert max(len(trace.x) for trace in figure.data) <= 1000


def test_ramp_figure_draws_every_schedule_in_its_colour() -> None:
    figure = ramp_figure({"CoTo": Linear(), "CoTo exponential": Exponential(), "mine": Constant(0.5)})
    for name, schedule in (("CoTo", Linear()), ("CoTo exponential", Exponential()), ("mine", Constant(0.5))):
        line = traces(figure)[name]
        assert list(line.y) == [schedule(x) for x in line.x]
        assert name == "mine" or line.line.color == STYLES[name]["color"]


@pytest.mark.parametrize("n_blocks", [1, 2, 32])
def test_every_number_of_blocks_has_its_rows(n_blocks: int) -> None:
    shown = traces(plan(Linear(), n_blocks, 50))
    assert shown["gates"].z.shape == (n_blocks, 50) and len(shown["trained"].x) == n_blocks
    assert torch.from_numpy(shown["gates"].z.copy()).any(0).all()  # never all shut
