"""The live view, trained for real without a browser; the browser's side is in tests/browser."""

import asyncio
import gc
import os
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from coto_lab import Adapter, Evaluator, Linear, Recipe, Sine, Training, Variant, fit
from coto_lab.figures.training import ACCURACY, BALANCE, GATES, LOSS, P
from coto_lab.widgets import LiveTraining, Switchboard

STEPS = 8
LONG = 100_000
RECIPES = {"LoRA": Recipe(steps=STEPS), "CoTo": Recipe(schedule=Linear(), steps=STEPS)}


@pytest.fixture
def live(tiny_task):
    return LiveTraining(tiny_task, RECIPES)


@pytest.fixture
def long(tiny_task):
    return LiveTraining(tiny_task, {name: replace(recipe, steps=LONG) for name, recipe in RECIPES.items()})


def trace(live, name, kind):
    (found,) = (trace for trace in live.figure.data if (trace.name, trace.meta) == (name, kind))
    return found


def steps_taken(live):
    return [len(training.records) for training in live._side_by_side.trainings.values()]


def as_fit_trains(task, runs, recipes):
    for name, recipe in recipes.items():
        alone = fit(task, recipe, progress=False)
        assert all(torch.equal(alone.adapter.tensors[key], value) for key, value in runs[name].adapter.tensors.items())


async def a_while():
    """As long as a few steps take, with turns for whoever trains."""
    for _ in range(5):
        await asyncio.sleep(0.02)


async def until(happened):
    """Wait for something that a training does; at most 20 s."""
    async with asyncio.timeout(20):
        while not happened():
            await asyncio.sleep(0)


async def started(live):
    """Press Start, and wait until there are steps."""
    live.start.click()
    await until(lambda: min(steps_taken(live)) > 3)


async def finished(live):
    await until(lambda: live._task.done())
    await live._task


# A training


def test_runs_are_bitwise_those_of_fit_and_the_figure_shows_all_steps(tiny_task):
    live = LiveTraining(tiny_task, RECIPES)
    assert live.runs == {}
    runs = asyncio.run(live.train())
    as_fit_trains(tiny_task, runs, RECIPES)
    assert live.runs is runs
    for name, run in runs.items():
        assert list(trace(live, name, LOSS).x) == list(range(STEPS))
        assert list(trace(live, name, P).y) == pytest.approx(run.history.p.tolist())
        np.testing.assert_allclose(np.asarray(trace(live, name, BALANCE).z).sum(0), 1, atol=1e-5)
    gates = trace(live, GATES, GATES)
    assert list(gates.y) == list(runs)
    np.testing.assert_array_equal(np.asarray(gates.z) > 0, [run.history.mask[-1].tolist() for run in runs.values()])
    assert f"Finished: step {STEPS} of {STEPS}" in live.text.value
    assert live.stop.disabled and not live.start.disabled


def test_accuracy_is_what_an_evaluator_finds_on_every_fourth_image(tiny_task, live):
    runs = asyncio.run(live.train())
    part = replace(tiny_task, test=tiny_task.test.select(range(0, 45, 4)))
    half = Training(tiny_task, RECIPES["CoTo"])
    for _ in range(STEPS // 2):
        half.step()
    variants = [Variant(run.adapter) for run in runs.values()] + [Variant(Adapter.from_model(half.model))]
    scores = (100 * Evaluator(part)(variants).accuracy).tolist()
    for name, accuracy in zip(runs, scores, strict=False):
        curve = trace(live, name, ACCURACY)
        assert list(curve.x) == list(range(STEPS + 1))  # before the first step, too
        assert curve.y[-1] == pytest.approx(accuracy)
        assert f"after step {STEPS} it classifies {accuracy:.1f}% correctly;" in live.text.value
    assert "The accuracy is that on every 4th test image (12 of 45);" in live.text.value
    assert trace(live, "CoTo", ACCURACY).y[STEPS // 2] == pytest.approx(scores[-1])


def test_a_long_training_is_scored_16_times_and_once_before(tiny_task):
    live = LiveTraining(tiny_task, {"LoRA": Recipe(steps=83)})
    asyncio.run(live.train())
    assert list(trace(live, "LoRA", ACCURACY).x) == [*range(0, 84, 5), 83]


def test_training_again_starts_afresh_and_leaves_no_thread(live):
    threads = threading.active_count()
    first, second = asyncio.run(live.train()), asyncio.run(live.train())
    for name, run in first.items():
        assert torch.equal(run.history.loss, second[name].history.loss)
    assert threading.active_count() == threads


# The buttons


def test_start_trains_as_a_task_and_disables_what_must_not_change_meanwhile(tiny_task, long):
    threads = threading.active_count()

    async def watch():
        await started(long)
        assert long.start.disabled and long.settings.disabled and not long.pause.disabled
        assert threading.active_count() == threads
        long.stop.click()
        await finished(long)

    asyncio.run(watch())
    assert not (long.start.disabled or long.settings.disabled) and long.pause.disabled and long.stop.disabled
    assert "Stopped: step" in long.text.value
    lora, coto = steps_taken(long)
    assert lora == coto < LONG
    assert len(long.runs["CoTo"].history) == coto
    assert all(training.gates.mask.all() for training in long._side_by_side.trainings.values())
    assert trace(long, "CoTo", LOSS).x[-1] == coto - 1  # the last step is drawn
    assert trace(long, "CoTo", ACCURACY).x[-1] == coto


def test_pause_holds_the_steps_and_resume_goes_on(long):
    async def watch():
        await started(long)
        long.pause.click()
        await until(lambda: "Paused: step" in long.text.value)
        assert long.pause.description == "Resume"
        held = steps_taken(long)
        await a_while()
        assert steps_taken(long) == held
        long.pause.click()
        assert long.pause.description == "Pause"
        await until(lambda: min(steps_taken(long)) > held[0] + 3)
        long.pause.click()
        await a_while()
        long.stop.click()  # also while it is paused
        await finished(long)

    asyncio.run(watch())
    assert long.pause.disabled and "Stopped" in long.text.value


def test_an_interrupt_means_stop_while_a_cell_waits(long):
    before = signal.getsignal(signal.SIGINT)

    async def watch():
        training = asyncio.ensure_future(long.train())
        await until(lambda: min(steps_taken(long)) > 3)
        os.kill(os.getpid(), signal.SIGINT)
        return await training

    runs = asyncio.run(watch())
    assert 0 < len(runs["LoRA"].history) == len(runs["CoTo"].history) < LONG
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("paused", [False, True])
def test_an_interrupt_stops_also_a_training_that_no_cell_waits_for(long, paused):
    async def watch():
        before = signal.getsignal(signal.SIGINT)
        await started(long)
        if paused:
            long.pause.click()
            await until(lambda: "Paused: step" in long.text.value)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # an impatient reader's second one must not end the kernel
        await finished(long)
        assert signal.getsignal(signal.SIGINT) is before

    asyncio.run(watch())
    assert "Stopped: step" in long.text.value and 0 < len(long.runs["LoRA"].history) < LONG


def test_the_next_training_is_as_the_controls_say(tiny_task, live):
    settings = live.settings
    settings.lr.slider.value = 10**-2.5
    settings.shape.value = "Sine"
    settings.start.field.value = "0.2"
    settings.ramp.slider.value = 0.5
    assert "Press Start to train LoRA at learning rate 0.003162; CoTo at" in live.text.value
    expected = {
        "LoRA": replace(RECIPES["LoRA"], lr=0.003162),
        "CoTo": replace(RECIPES["CoTo"], lr=0.003162, schedule=Sine(0.2, 1.0, 0.5)),
    }
    assert settings.recipes == expected

    async def press_start():
        live.start.click()
        await finished(live)

    asyncio.run(press_start())
    as_fit_trains(tiny_task, live.runs, expected)
    assert live.runs["CoTo"].recipe == expected["CoTo"]


# Other views


def test_fed_views_get_the_runs_of_every_training_and_one_view_of_a_kind_is_fed(tiny_task, live):
    first, second = Switchboard(tiny_task), Switchboard(tiny_task)
    live.feed(first)
    live.feed(first)
    assert first.scores is None
    asyncio.run(live.train())
    assert list(first.method.options) == list(RECIPES) and first.scores is not None
    live.feed(second)
    assert second.scores is not None
    before = second.scores, first.scores
    asyncio.run(live.train())
    assert second.scores is not before[0] and first.scores is before[1]


@pytest.mark.parametrize("in_cell", [True, False])
def test_another_training_ends_the_one_under_way(tiny_task, live, long, in_cell):
    async def watch():
        await started(long)
        if in_cell:
            await live.train()
        else:
            live.start.click()
            await finished(live)
        await finished(long)

    asyncio.run(watch())
    assert "Stopped" in long.text.value and "Finished" in live.text.value
    assert max(steps_taken(long)) < LONG and long.runs


def test_a_training_in_the_same_view_ends_the_one_under_way_and_has_the_figure(long):
    async def watch():
        await started(long)
        first = long._side_by_side
        second = asyncio.ensure_future(long.train())
        await finished(long)
        taken = first.done
        assert long._side_by_side is not first and not long.stop.disabled and long.runs == {}
        await until(lambda: min(steps_taken(long)) > taken)
        assert first.done == taken
        long.stop.click()
        return await second

    runs = asyncio.run(watch())
    assert long.runs is runs


def test_a_view_made_anew_and_a_closed_one_train_no_more(tiny_task, long):
    async def watch():
        await started(long)
        LiveTraining(tiny_task, RECIPES)
        await finished(long)
        await started(long)
        long.figure.close()
        long.close()
        await finished(long)
        long.start.click()
        long.close()  # before its first step
        await finished(long)

    asyncio.run(watch())
    assert steps_taken(long) == [0, 0]


def test_a_view_that_nobody_holds_is_no_hindrance(tiny_task):
    LiveTraining(tiny_task, RECIPES).close()
    gc.collect()
    assert asyncio.run(LiveTraining(tiny_task, RECIPES).train())


# What goes wrong


@pytest.mark.parametrize(
    ("recipes", "error", "said"),
    [
        ({}, ValueError, "recipes is empty"),
        ({"a": Recipe(steps=3), "b": Recipe(steps=4)}, ValueError, r"recipes: .*same number of steps; got \[3, 4\]"),
        ([Recipe()], TypeError, "recipes is a list: give a dict"),
        ({"a": "lora"}, TypeError, r"recipes\['a'\] is a str: give a dict"),
    ],
)
def test_only_a_dict_of_recipes_of_one_length_is_taken(tiny_task, recipes, error, said):
    with pytest.raises(error, match=said):
        LiveTraining(tiny_task, recipes)
