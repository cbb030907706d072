"""The live view, trained for real without a browser; the browser's side is in tests/browser."""

import asyncio
import os
import signal
import threading

import numpy as np
import pytest
import torch

from coto_lab import Linear, Recipe, fit
from coto_lab.widgets import LiveTraining

STEPS = 8
RECIPES = {"LoRA": Recipe(steps=STEPS), "CoTo": Recipe(schedule=Linear(), steps=STEPS)}


def test_live_runs_are_bitwise_those_of_fit_and_the_figure_shows_all_steps(task):
    live = LiveTraining(task, RECIPES)
    runs = asyncio.run(live.train())
    for name, recipe in RECIPES.items():
        alone = fit(task, recipe, progress=False)
        assert all(torch.equal(alone.adapter.tensors[key], value) for key, value in runs[name].adapter.tensors.items())
        line = next(trace for trace in live.figure.data if trace.name == name and trace.type == "scatter")
        heat = next(trace for trace in live.figure.data if trace.name == name and trace.type == "heatmap")
        assert len(line.x) == STEPS
        np.testing.assert_allclose(np.asarray(heat.z).sum(0), 1, atol=1e-5)
    assert f"Finished: step {STEPS} of {STEPS}" in live.text.value
    assert live.stop.disabled


def test_stop_ends_after_the_step_under_way_and_keeps_what_was_learned(task):
    live = LiveTraining(task, {name: Recipe(steps=5000) for name in RECIPES})
    runs = asyncio.run(_train_and(live, live.stop.click))
    lengths = [len(run.history) for run in runs.values()]
    assert 0 < lengths[0] < 5000 and lengths[0] == lengths[1]
    assert "Stopped: step" in live.text.value


def test_an_interrupt_means_stop_only_while_it_trains(task):
    before = signal.getsignal(signal.SIGINT)
    live = LiveTraining(task, {"LoRA": Recipe(steps=5000)})
    runs = asyncio.run(_train_and(live, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert 0 < len(runs["LoRA"].history) < 5000
    assert signal.getsignal(signal.SIGINT) is before


def test_training_again_starts_afresh_and_leaves_no_thread(task):
    live = LiveTraining(task, RECIPES)
    threads = threading.active_count()
    first, second = asyncio.run(live.train()), asyncio.run(live.train())
    for name, run in first.items():
        assert torch.equal(run.history.loss, second[name].history.loss)
    assert threading.active_count() == threads


def test_a_diverging_run_raises_and_the_view_is_usable_again(task):
    live = LiveTraining(task, {"LoRA": Recipe(steps=STEPS, lr=1e38)})
    with pytest.raises(FloatingPointError, match="learning rate"):
        asyncio.run(live.train())
    assert live.stop.disabled


@pytest.mark.parametrize("recipes", [{}, {"a": Recipe(steps=3), "b": Recipe(steps=4)}])
def test_recipes_of_different_lengths_or_none_are_refused(task, recipes):
    with pytest.raises(ValueError, match=r"recipes: .*same number of steps"):
        LiveTraining(task, recipes)


async def _train_and(live, act):
    """Train, and call ``act`` once the first steps are done, at a moment when the training listens."""
    training = asyncio.ensure_future(live.train())
    while not live._trainings["LoRA"].records or live.stop.disabled:
        await asyncio.sleep(0)
    act()
    return await training
