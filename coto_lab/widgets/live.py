"""A view of two or more adapters that train side by side."""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import ipywidgets as widgets

from coto_lab.figures import training_figure
from coto_lab.figures.examples import kind_of
from coto_lab.ground.lists import check_dict
from coto_lab.notebook.place import HEADLESS, SCRIPT, where
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.tasks import Part, Task
from coto_lab.tasks.check import check_task
from coto_lab.training.recipe import Recipe
from coto_lab.training.run import Run
from coto_lab.widgets.kernel import answers, interrupt_means, listen
from coto_lab.widgets.settings import Settings
from coto_lab.widgets.side_by_side import SideBySide
from coto_lab.widgets.view import View, plain
from coto_lab.widgets.words import percent, verb

_DRAW_EVERY = 0.25  # seconds; a browser cannot draw more than 4 to 5 times a second, and the kernel does not notice that
_DRAW_REST = 12  # pause between two drawings, in times of one drawing, so that at most 1/13 of the time is spent on drawing
_LISTEN_EVERY = 0.05  # seconds
_PART = 4  # every 4th test example is scored


class TakesRuns(Protocol):
    """A view that shows finished runs."""

    def take(self, runs: Mapping[str, Run]) -> None:
        """Show these runs, method name -> run."""


class LiveTraining(View):
    """Trains one adapter per recipe, step by step in turns, and draws the training.

    Show the view in one cell. Then press Start, or train in the next cell, which waits for the runs::

        live = LiveTraining(task, {"LoRA": Recipe(), "CoTo": Recipe(schedule=Linear())})
        live
        runs = await live.train()

    Stop ends the training after the current step and keeps what was learned so far. The kernel's interrupt button does the
    same. A kernel runs one training at a time: a new training, of this view or of another one, ends the earlier training, and
    so does `close`. A script that needs only the records iterates over a `Training`.

    Args:
        task: the task to train on.
        recipes: name -> recipe, all with the same number of steps.

    Attributes:
        settings: controls of the next training: learning rate and schedule.
        runs: name -> run of the last training; empty before the first one.
        start, pause, stop: buttons.

    Raises:
        TypeError: ``task`` lacks a part of the protocol.
        ValueError: there are no recipes, or they have different numbers of steps; a loss or a measure of the task is invalid.
    """

    def __init__(self, task: Task, recipes: Mapping[str, Recipe]):
        check_dict("recipes", recipes, Recipe, "give a dict, such as {'LoRA': Recipe()}.")
        steps = {recipe.steps for recipe in recipes.values()}
        if len(steps) != 1:
            raise ValueError(f"recipes: give recipes with the same number of steps; got {sorted(steps)} steps.")
        self.task, self.steps = task, steps.pop()
        self.runs: dict[str, Run] = {}
        self.settings = Settings(recipes)
        self.start = _button("Start", "play", "Train with the settings below")
        self.pause = _button("Pause", "pause", "Wait after this step; press again to continue")
        self.stop = _button("Stop", "stop", "End the training after this step, and keep what was learned")
        check_task(task)
        self._kind = kind_of(task.show("test", [0]))
        self._evaluator = Evaluator(Part(task, _PART))
        self._views: dict[type, TakesRuns] = {}
        self._task: asyncio.Task[Any] | None = None  # kept here, because an event loop does not keep its tasks
        self._side_by_side = self._new()
        figure = training_figure(self._side_by_side.histories, self.steps)
        super().__init__(figure, [widgets.HBox([self.start, self.pause, self.stop]), self.settings], "coto-live")
        self._enable(training=False)
        self.start.on_click(lambda _: self._start())
        self.pause.on_click(lambda _: self._pause())
        self.stop.on_click(lambda _: self._stop())
        self.settings.observe(lambda _: self.say(f"Press Start to train {self.settings}."), "recipes")
        self.say(f"Nothing has been trained yet. Press Start, or run the next cell, to train {self.settings}.")

    async def train(self) -> dict[str, Run]:
        """Train by all recipes from the start; return name -> run. The buttons work during the training.

        A training whose loss becomes NaN or infinite ends and has no run; the sentence below the figure says so.
        """
        place, side_by_side = where().place, self._begin()
        with interrupt_means(_interrupt(side_by_side)), answers():
            runs = await self._train(side_by_side, in_cell=place != SCRIPT)
        if place == HEADLESS:
            from IPython.display import display

            display(self)
        return runs

    def feed(self, view: TakesRuns) -> None:
        """Give the runs to ``view.take`` after every training, and now if there are runs; of one class, only the last view."""
        self._views[type(view)] = view
        if self.runs:
            view.take(self.runs)

    def close(self) -> None:
        """Close the view; a running training ends after its current step."""
        if hasattr(self, "_side_by_side"):  # it is missing if an argument was refused; ipywidgets closes such objects too
            self._stop()
        super().close()

    def _begin(self) -> SideBySide:
        self._side_by_side = self._new()
        self._enable(training=True)
        return self._side_by_side

    async def _train(self, side_by_side: SideBySide, in_cell: bool) -> dict[str, Run]:
        drawn = heard = time.monotonic()
        rest = _DRAW_EVERY
        try:
            while not (side_by_side.over or side_by_side.stopping):
                side_by_side.step()
                if time.monotonic() - heard > _LISTEN_EVERY:
                    await listen(in_cell)
                    heard = time.monotonic()
                if (started := time.monotonic()) - drawn > rest or side_by_side.paused:
                    self._draw(side_by_side)
                    drawn = time.monotonic()
                    rest = max(_DRAW_EVERY, _DRAW_REST * (drawn - started))
                while side_by_side.paused and not side_by_side.stopping:
                    await asyncio.sleep(_LISTEN_EVERY)
                    await listen(in_cell)
        finally:  # what was learned is kept after an error too
            side_by_side.open_gates()
            runs = side_by_side.runs
            if side_by_side is self._side_by_side:  # otherwise the view already shows another training
                self.runs = runs
                side_by_side.paused = False
                self._enable(training=False)
                self._draw(side_by_side, ended=True)
        side_by_side.score()
        if side_by_side is self._side_by_side:
            self._draw(side_by_side, ended=True)  # now with the last scores; a click on Stop does not wait for these scores
            self._hand_on()
        return runs

    def _hand_on(self) -> None:
        """Give the runs to the other views; if a view cannot show the runs, the sentence says so and the runs are kept."""
        for view in self._views.values() if self.runs else ():
            try:
                view.take(self.runs)
            except ValueError as error:
                words = f"{plain(self.text.value)} {type(view).__name__} does not show these runs: {error}"
                self.say(html.escape(words))

    def _new(self) -> SideBySide:
        return SideBySide(self.task, self.settings.recipes, self._evaluator)

    # What the buttons do. These methods only set flags; the coroutine trains and draws.

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._train_alone(self._begin()))
        self._task.add_done_callback(self._report)

    async def _train_alone(self, side_by_side: SideBySide) -> None:
        """Train without a cell that waits for the runs."""
        with interrupt_means(_interrupt(side_by_side)):
            try:
                await self._train(side_by_side, in_cell=False)
            except KeyboardInterrupt:  # otherwise the exception would end the kernel
                self.say(f"{html.escape(plain(self.text.value))} The kernel was interrupted before all views had these runs.")

    def _report(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()):  # no cell would show this error
            self.say(f"The training ended with an error: {html.escape(repr(error))}")

    def _pause(self) -> None:
        self._side_by_side.paused = not self._side_by_side.paused
        self._show_pause()

    def _stop(self) -> None:
        self._side_by_side.stopping = True

    def _enable(self, training: bool) -> None:
        self.start.disabled = self.settings.disabled = training
        self.pause.disabled = self.stop.disabled = not training
        self._show_pause()

    def _show_pause(self) -> None:
        self.pause.description, self.pause.icon = ("Resume", "play") if self._side_by_side.paused else ("Pause", "pause")

    # What is shown.

    def _draw(self, side_by_side: SideBySide, ended: bool = False) -> None:
        training_figure(side_by_side.histories, self.steps, side_by_side.accuracy, self.figure)
        state = (
            "Finished"
            if side_by_side.over and ended
            else "Stopped"
            if ended
            else "Paused"
            if side_by_side.paused
            else "Training"
        )
        left = "" if ended else f", about {side_by_side.seconds_left:.0f} s left"
        standings = " ".join(_standing(side_by_side, name, verb(self.task)) for name in side_by_side.trainings)
        n_scored, n = self._evaluator.task.size("test"), self.task.size("test")
        part = f"The accuracy is that on every {_PART}th test {self._kind} ({n_scored} of {n}); on all of them it can differ."
        self.say(f"{state}: step {side_by_side.done} of {self.steps}{left}. {standings} {part}")


def _standing(side_by_side: SideBySide, name: str, does: str) -> str:
    if name in side_by_side.failed:
        return f"<b>{html.escape(name)} ended: {html.escape(side_by_side.failed[name])}</b>"
    if not (records := side_by_side.trainings[name].records):
        return ""
    last = records[-1]
    n_open = int(last.mask.sum())
    step, accuracy = list(side_by_side.accuracy[name].items())[-1]
    return (
        f"{html.escape(name)}: loss of the last step {last.loss:.2g} nats; after step {step} it {does} "
        f"{percent(accuracy, 1)} correctly; p = {last.p:.2f}, "
        f"{n_open} of {len(last.mask)} blocks {'is' if n_open == 1 else 'are'} open."
    )


def _interrupt(side_by_side: SideBySide) -> Callable[[], None]:
    """The handler of interrupts: the first interrupt stops the trainings, and a later one ends the task that trains."""
    task = asyncio.current_task()

    def interrupt() -> None:
        if (
            side_by_side.over or side_by_side.stopping
        ) and asyncio.current_task() is task:  # outside of this task, the exception would end the kernel
            raise KeyboardInterrupt
        side_by_side.stopping = True

    return interrupt


def _button(name: str, icon: str, tooltip: str) -> widgets.Button:
    return widgets.Button(description=name, icon=icon, tooltip=tooltip)
