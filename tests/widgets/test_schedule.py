"""The schedule explorer, driven as a reader drives it."""

import numpy as np
import pytest
import torch

from coto_lab import Constant, Exponential, Linear, Sine
from coto_lab.coto import training_masks
from coto_lab.probes.cost import Cost
from coto_lab.widgets import ScheduleExplorer


@pytest.fixture
def explorer():
    return ScheduleExplorer()


def trace(explorer, name):
    return next(trace for trace in explorer.figure.data if trace.name == name)


def test_at_first_it_shows_the_schedule_of_the_paper(explorer):
    assert (explorer.schedule, explorer.steps) == (Linear(), 800)
    assert torch.equal(explorer.masks, training_masks(8, Linear(), total_steps=800, seed=0))
    np.testing.assert_array_equal(trace(explorer, "gates").z, explorer.masks.T.int())
    said = explorer.text.value
    assert "p rises from 0 to 1, evenly, over 600 of 800 steps; on average 5.1 of 8 blocks train (expected 5.1)" in said
    assert "block 2 least often, in 62% of the steps, block 1 most often, in 66%" in said
    assert "spares 36% of the adapters' work and 11% of the backward passes through blocks." in said


def test_every_control_reaches_curve_gates_and_sentence(explorer):
    for name, value in {"start": 0.2, "end": 0.9, "ramp": 0.5, "blocks": 3, "steps": 120, "seed": 4}.items():
        explorer.fields[name].slider.value = value
    explorer.shape.value = "Sine"
    assert (explorer.schedule, explorer.steps, explorer.seed) == (Sine(0.2, 0.9, 0.5), 120, 4)
    assert torch.equal(explorer.masks, training_masks(3, Sine(0.2, 0.9, 0.5), total_steps=120, seed=4))
    np.testing.assert_array_equal(trace(explorer, "gates").z, explorer.masks.T.int())
    np.testing.assert_allclose(trace(explorer, "p(t)").y, [explorer.schedule(step / 120) for step in range(120)], rtol=1e-6)
    assert "p rises from 0.2 to 0.9, fast at first, over 60 of 120 steps" in explorer.text.value


def test_presets(explorer):
    expected = {
        "paper": Linear(),
        "README snippet": Linear(start=0.1, ramp=0.75),
        "stochastic depth": Constant(0.5),
        "plain LoRA": Constant(1.0),
    }
    assert explorer.presets.keys() == expected.keys()
    explorer.fields["steps"].value = 200  # presets are schedules: sizes stay
    for name, schedule in expected.items():
        explorer.presets[name].click()
        assert (explorer.schedule, explorer.steps) == (schedule, 200)
    assert explorer.masks.all()
    assert "p is 1 in all 200 steps; on average 8.0 of 8 blocks train" in explorer.text.value
    assert "every block trains in 100% of the steps" in explorer.text.value


def test_reset_brings_back_what_was_there_at_first(explorer):
    fresh = explorer.figure.to_json(), explorer.text.value
    explorer.shape.value = "Exponential"
    for name, value in {"start": 0.5, "end": 0.6, "ramp": 0.1, "blocks": 32, "steps": 10, "seed": 9}.items():
        explorer.fields[name].value = value
    assert explorer.schedule == Exponential(0.5, 0.6, 0.1) and explorer.figure.to_json() != fresh[0]
    explorer.reset.click()
    assert (explorer.figure.to_json(), explorer.text.value) == fresh


def test_start_and_end_take_each_other_along(explorer):
    start, end = explorer.fields["start"], explorer.fields["end"]
    end.slider.value = 0.4
    start.slider.value = 0.7
    assert explorer.schedule == Linear(0.7, 0.7)
    end.field.value = "0.25"
    assert explorer.schedule == Linear(0.25, 0.25)
    assert "p is 0.25 in all 800 steps" in explorer.text.value


def test_a_constant_needs_p_only(explorer):
    explorer.shape.value = "Constant"
    fields = explorer.fields
    assert fields["start"].slider.description == "p"
    assert [name for name, field in fields.items() if field.disabled] == ["end", "ramp"]
    fields["start"].slider.value = 0.3
    assert explorer.schedule == Constant(0.3)
    explorer.shape.value = "Linear"
    assert fields["start"].slider.description == "start" and not any(field.disabled for field in fields.values())
    assert explorer.schedule == Linear(start=0.3)


@pytest.mark.parametrize("name, typed", [("ramp", "1.2"), ("blocks", "33"), ("steps", "2000"), ("seed", "-1"), ("start", "x")])
def test_what_is_out_of_range_is_refused_and_nothing_is_redrawn(explorer, name, typed):
    before = explorer.figure.to_json()
    explorer.fields[name].field.value = typed
    assert f"‘{typed}’ was not taken" in explorer.fields[name].message.value
    assert explorer.figure.to_json() == before
    explorer.reset.click()
    assert explorer.fields[name].message.value == ""


def test_corners(explorer):
    for blocks, steps, ramp, end in ((1, 10, 0, 0), (32, 1000, 1, 1), (32, 10, 0, 1), (1, 1000, 1, 0)):
        for name, value in {"blocks": blocks, "steps": steps, "ramp": ramp, "end": end}.items():
            explorer.fields[name].value = value
        assert explorer.masks.shape == (steps, blocks) and explorer.masks.any(1).all()


def test_a_measured_cost_predicts_the_time_saved_for_as_many_blocks():
    cost = Cost(0.01, 0.002, 0.003, torch.ones(2, 8, dtype=torch.bool), torch.ones(2))
    explorer = ScheduleExplorer(cost)
    saved = cost.saving(explorer.masks)
    assert trace(explorer, "spared").x[-1] == saved and f"{saved:.0%} of the time" in explorer.text.value
    explorer.fields["blocks"].value = 9
    assert len(trace(explorer, "spared").x) == 2 and "of the time" not in explorer.text.value


def test_one_click_is_one_redraw(explorer, monkeypatch):
    redraws = []
    monkeypatch.setattr(explorer, "_redraw", lambda redraw=explorer._redraw: redraws.append(redraw()))
    explorer.presets["stochastic depth"].click()
    explorer.reset.click()
    explorer.fields["start"].value = explorer.fields["ramp"].value
    assert len(redraws) == 3
