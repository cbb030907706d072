"""The schedule explorer, driven as a reader drives it."""

import numpy as np
import pytest
import torch

from coto_lab import Constant, Exponential, Linear, Sine
from coto_lab.gating.coto import training_masks
from coto_lab.probes.cost import Cost
from coto_lab.widgets import ScheduleExplorer
from coto_lab.widgets.view import plain


@pytest.fixture
def explorer():
    return ScheduleExplorer()


def message(explorer):
    return plain(explorer.message.value)


def trace(explorer, name):
    return next(trace for trace in explorer.figure.data if trace.name == name)


def test_at_first_it_shows_the_schedule_of_the_paper(explorer):
    assert (explorer.schedule, explorer.steps) == (Linear(), 800)
    assert torch.equal(explorer.masks, training_masks(8, Linear(), total_steps=800, seed=0))
    np.testing.assert_array_equal(trace(explorer, "gates").z, explorer.masks.T.int())
    said = explorer.text.value
    assert (
        "p rises from 0 to 1, evenly, over the first 600 of 800 steps. On average 5.1 of 8 blocks train (expected: 5.1)" in said
    )
    assert "block 2 trains least often, in 62% of the steps, and block 1 most often, in 66%" in said
    assert "saves 36% of the adapters' work and 11% of the backward passes through blocks." in said


def test_every_control_reaches_curve_gates_and_sentence(explorer):
    for name, value in {"start": 0.2, "end": 0.9, "ramp": 0.5, "blocks": 3, "steps": 120, "seed": 4}.items():
        explorer.fields[name].slider.value = value
    explorer.shape.value = "Sine"
    assert (explorer.schedule, explorer.steps, explorer.seed) == (Sine(0.2, 0.9, 0.5), 120, 4)
    assert torch.equal(explorer.masks, training_masks(3, Sine(0.2, 0.9, 0.5), total_steps=120, seed=4))
    np.testing.assert_array_equal(trace(explorer, "gates").z, explorer.masks.T.int())
    np.testing.assert_allclose(trace(explorer, "p(t)").y, [explorer.schedule(step / 120) for step in range(120)], rtol=1e-6)
    assert "p rises from 0.2 to 0.9, fast at first, over the first 60 of 120 steps" in explorer.text.value


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
    assert "p is 1 in all 200 steps. On average 8.0 of 8 blocks train" in explorer.text.value
    assert "every block trains in 100% of the steps" in explorer.text.value


def test_reset_brings_back_what_was_there_at_first(explorer):
    fresh = explorer.figure.to_json(), explorer.text.value
    explorer.shape.value = "Exponential"
    for name, value in {"start": 0.5, "end": 0.6, "ramp": 0.1, "blocks": 32, "steps": 10, "seed": 9}.items():
        explorer.fields[name].value = value
    assert explorer.schedule == Exponential(0.5, 0.6, 0.1) and explorer.figure.to_json() != fresh[0]
    explorer.reset.click()
    assert (explorer.figure.to_json(), explorer.text.value) == fresh


def test_start_and_end_do_not_pass_each_other_and_a_line_says_so(explorer):
    start, end = explorer.fields["start"], explorer.fields["end"]
    end.slider.value = 0.4
    start.slider.value = 0.7
    assert explorer.schedule == Linear(0.4, 0.4) and start.field.value == "0.4"
    assert message(explorer) == "start: Enter a number from 0 to 0.4; p ends at 0.4."
    end.field.value = "0.25"
    assert explorer.schedule == Linear(0.4, 0.4) and end.field.value == "0.25"
    assert message(explorer) == "end: Enter a number from 0.4 to 1; p starts at 0.4."
    start.field.value = "0.1"
    assert explorer.schedule == Linear(0.1, 0.4) and (message(explorer), end.field.value) == ("", "0.4")
    end.field.value = "0.25"
    assert explorer.schedule == Linear(0.1, 0.25)
    with pytest.raises(ValueError, match=r"start=0\.3: Enter a number from 0 to 0\.25"):
        start.value = 0.3
    explorer.presets["paper"].click()
    explorer.presets["README snippet"].click()
    assert explorer.schedule == Linear(0.1, 1.0)


def test_a_constant_needs_p_only(explorer):
    explorer.shape.value = "Constant"
    fields = explorer.fields
    hidden = lambda: [name for name, field in fields.items() if field.layout.display == "none"]  # noqa: E731
    assert hidden() == ["start"]
    assert [name for name, field in fields.items() if field.disabled] == ["end", "ramp"]
    fields["p"].slider.value = 0.3
    assert explorer.schedule == Constant(0.3)
    explorer.shape.value = "Linear"
    assert hidden() == ["p"] and not any(field.disabled for field in fields.values())
    assert explorer.schedule == Linear()


@pytest.mark.parametrize("name, typed", [("ramp", "1.2"), ("blocks", "33"), ("steps", "9000"), ("seed", "-1"), ("start", "x")])
def test_what_is_out_of_range_is_refused_and_nothing_is_redrawn(explorer, name, typed):
    before = explorer.figure.to_json()
    explorer.fields[name].field.value = typed
    assert message(explorer).startswith(f"{name}: Enter a ") and explorer.fields[name].field.value == typed
    assert explorer.figure.to_json() == before
    explorer.reset.click()
    assert message(explorer) == "" and explorer.fields[name].field.value != typed


@pytest.mark.parametrize(
    "name, typed", [("start", "0.333"), ("end", "0.98"), ("ramp", "0.123"), ("steps", "1234"), ("seed", "7")]
)
def test_a_number_is_taken_as_typed(explorer, name, typed):
    explorer.fields[name].field.value = typed
    assert (explorer.fields[name].value, explorer.fields[name].field.value) == (float(typed), typed)
    assert getattr(explorer.schedule, name, None) == float(typed) or getattr(explorer, name, None) == int(typed)


def test_another_draw_is_the_next_seed(explorer):
    before = explorer.masks
    explorer.another.click()
    assert explorer.seed == 1 and not torch.equal(explorer.masks, before)
    explorer.fields["seed"].value = 99
    explorer.another.click()
    assert explorer.seed == 0 and torch.equal(explorer.masks, before)


def test_numbers_that_round_to_the_same_are_not_contrasted(explorer, monkeypatch):
    for masks, words in (
        (torch.tensor([[True, False]] * 370 + [[False, True]] * 629 + [[True, True]]), "block 0 trains least often, in 37%"),
        (torch.tensor([[True, False]] * 499 + [[False, True]] * 501), "every block trains in about 50% of the steps"),
        (torch.tensor([[True, False], [False, True]]), "every block trains in 50% of the steps"),
    ):
        monkeypatch.setattr(explorer, "_draw", lambda masks=masks: masks)
        explorer._redraw()
        assert words in explorer.text.value


def test_corners(explorer):
    for blocks, steps, ramp, end in ((1, 10, 0, 0), (32, 5000, 1, 1), (32, 10, 0, 1), (1, 1000, 1, 0)):
        for name, value in {"blocks": blocks, "steps": steps, "ramp": ramp, "end": end}.items():
            explorer.fields[name].value = value
        assert explorer.masks.shape == (steps, blocks) and explorer.masks.any(1).all()


def test_a_measured_cost_predicts_the_time_saved_for_as_many_blocks():
    cost = Cost(0.01, 0.002, 0.003, torch.ones(2, 8, dtype=torch.bool), torch.ones(2).double())
    explorer = ScheduleExplorer(cost)
    saved = cost.saving(explorer.masks)
    assert trace(explorer, "spared").x[-1] == saved and f"{saved:.0%} of the time." in explorer.text.value
    explorer.fields["blocks"].value = 9
    assert len(trace(explorer, "spared").x) == 2 and "of the time" not in explorer.text.value


def test_one_click_is_one_redraw(explorer, monkeypatch):
    redraws = []
    monkeypatch.setattr(explorer, "_redraw", lambda redraw=explorer._redraw: redraws.append(redraw()))
    explorer.presets["stochastic depth"].click()
    explorer.reset.click()
    explorer.fields["start"].value = explorer.fields["ramp"].value
    assert len(redraws) == 3
