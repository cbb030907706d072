"""The live view where something goes wrong: what was learned until then is there, and gates are open."""

import asyncio
import os
import signal
import time

import pytest

from coto_lab import Linear, Recipe, Training
from coto_lab.figures.training import LOSS
from coto_lab.widgets import LiveTraining, Switchboard

STEPS = 8
RECIPES = {"LoRA": Recipe(steps=STEPS), "CoTo": Recipe(schedule=Linear(), steps=STEPS)}


@pytest.fixture
def live(tiny_task):
    return LiveTraining(tiny_task, RECIPES)


def test_a_diverging_run_ends_with_advice_and_the_others_train_on(tiny_task):
    live = LiveTraining(tiny_task, RECIPES | {"wild": Recipe(steps=STEPS, lr=1e38)})
    board = Switchboard(tiny_task)
    live.feed(board)
    runs = asyncio.run(live.train())
    assert list(runs) == list(RECIPES) == list(board.method.options)
    assert [len(run.history) for run in runs.values()] == [STEPS] * 2
    assert "wild ended: the loss of step " in live.text.value and "try a learning rate below lr=1e+38" in live.text.value
    (losses,) = (trace.x for trace in live.figure.data if (trace.name, trace.meta) == ("wild", LOSS))
    assert 0 < len(losses) < STEPS
    live.settings.lr.value = 0.02
    assert list(asyncio.run(live.train())) == [*RECIPES, "wild"]


def test_when_all_diverge_the_training_is_over_and_nobody_is_fed(tiny_task):
    live = LiveTraining(tiny_task, {"wild": Recipe(steps=100_000, lr=1e38)})
    live.feed(board := Switchboard(tiny_task))
    assert asyncio.run(live.train()) == {} and board.scores is None
    assert "wild ended" in live.text.value and live.stop.disabled


def test_an_error_in_a_training_that_no_cell_waits_for_is_told(live):
    class Broken:
        def take(self, runs):
            raise RuntimeError("no room for <runs>")

    live.feed(Broken())

    async def press_start():
        live.start.click()
        with pytest.raises(RuntimeError, match="no room"):
            await live._task

    asyncio.run(press_start())
    assert "no room for &lt;runs&gt;" in live.text.value and not live.start.disabled


def test_an_error_in_a_step_leaves_open_gates_and_what_was_learned(live, monkeypatch):
    take_step, calls = Training.step, []

    def step(training):
        calls.append(training)
        if len(calls) == 8:  # CoTo's fourth step
            raise RuntimeError("CUDA out of memory")
        return take_step(training)

    monkeypatch.setattr(Training, "step", step)
    with pytest.raises(RuntimeError, match="out of memory"):
        asyncio.run(live.train())
    assert [len(run.history) for run in live.runs.values()] == [4, 3]
    assert all(training.gates.mask.all() for training in live._side_by_side.trainings.values())
    assert "Stopped: step 4 of 8" in live.text.value and not live.start.disabled


def test_a_view_that_refuses_the_runs_does_not_cost_them(tiny_task, live):
    class Picky:
        def take(self, runs):
            raise ValueError("no partner for 'LoRA'")

    board = Switchboard(tiny_task)
    live.feed(Picky())
    live.feed(board)
    runs = asyncio.run(live.train())
    assert runs == live.runs and list(board.method.options) == list(RECIPES)
    assert "Finished: step 8 of 8" in live.text.value and "Picky does not show these runs: no partner for" in live.text.value


def test_an_interrupt_while_another_view_takes_the_runs_ends_that(live):
    class Slow:
        def take(self, runs):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

    live.feed(Slow())
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(live.train())
    assert list(live.runs) == list(RECIPES)

    async def press_start():
        live.start.click()
        await live._task  # without an exception, which would end the kernel

    asyncio.run(press_start())
    assert "Finished: step 8 of 8" in live.text.value and "interrupted before all views had these runs" in live.text.value
    assert list(live.runs) == list(RECIPES) and not live.start.disabled
