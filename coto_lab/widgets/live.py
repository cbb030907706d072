"""Two or more adapters that train side by side while the reader watches."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

import ipywidgets as widgets
import plotly.graph_objects as go

from coto_lab.figures import CONFIG, training_figure
from coto_lab.recipe import Recipe
from coto_lab.run import Run
from coto_lab.tasks import Task
from coto_lab.training import Training

_DRAW_EVERY = 0.25  # seconds: a browser falls behind above 4 to 5 drawings a second, and nothing tells the kernel
_LISTEN_EVERY = 0.05


class LiveTraining(widgets.VBox):
    """Trains one adapter per recipe, alternating step by step, and draws loss and gradient balance as they go.

    Show it in one cell and train in the next::

        live = LiveTraining(task, {"LoRA": Recipe(), "CoTo": Recipe(schedule=Linear())})
        live
        runs = await live.train()

    Stop, or the kernel's interrupt button, ends the training after the step under way; the runs so far are returned.

    Args:
        task: what to train on.
        recipes: name -> recipe; all of the same number of steps.

    Raises:
        ValueError: no recipes, or different numbers of steps.
    """

    def __init__(self, task: Task, recipes: Mapping[str, Recipe]):
        steps = {recipe.steps for recipe in recipes.values()}
        if len(steps) != 1:
            raise ValueError(f"recipes: give at least one, all with the same number of steps; got steps {sorted(steps)}.")
        self.task, self.recipes, self.steps = task, dict(recipes), steps.pop()
        self._trainings = self._new_trainings()
        histories = {name: training.history() for name, training in self._trainings.items()}
        self.figure = go.FigureWidget(training_figure(histories, self.steps))
        self.figure._config = self.figure._config | CONFIG
        self.figure.layout.autosize = True  # as wide as the notebook
        self.stop = widgets.Button(description="Stop", icon="stop", disabled=True, tooltip="End the training after this step")
        self.stop.on_click(lambda _: self._ask_to_stop())
        self.text = widgets.HTML()
        self._say("Nothing trained yet: run the next cell.")
        self._stopping = False
        super().__init__([self.stop, self.figure, self.text])
        self.add_class("coto-live")

    async def train(self) -> dict[str, Run]:
        """Train all recipes from the start; return name -> run. The kernel hears Stop meanwhile."""
        self._trainings = self._new_trainings()
        self._stopping = False
        self.stop.disabled = False
        drawn = heard = time.monotonic()
        with self._interrupt_means_stop():
            try:
                for _ in range(self.steps):
                    for training in self._trainings.values():
                        training.step()
                    if time.monotonic() - heard > _LISTEN_EVERY:
                        await _let_kernel_listen()
                        heard = time.monotonic()
                    if self._stopping:
                        break
                    if time.monotonic() - drawn > _DRAW_EVERY:
                        self._draw()
                        drawn = time.monotonic()
            finally:
                self.stop.disabled = True
                self._draw()
        return {name: training.run() for name, training in self._trainings.items()}

    def _new_trainings(self) -> dict[str, Training]:
        return {name: Training(self.task, recipe) for name, recipe in self.recipes.items()}

    def _ask_to_stop(self) -> None:
        self._stopping = True  # only the flag: training and drawing belong to the cell that awaits them

    @contextmanager
    def _interrupt_means_stop(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, lambda *_: self._ask_to_stop())
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _draw(self) -> None:
        histories = {name: training.history() for name, training in self._trainings.items()}
        training_figure(histories, self.steps, self.figure)
        done = min(len(history) for history in histories.values())
        state = "Stopped" if self._stopping else "Finished" if done == self.steps else "Training"
        parts = []
        for name, training in self._trainings.items():
            if training.records:
                last = training.records[-1]
                parts.append(
                    f"{name} has loss {last.loss:.3f} and trained {int(last.mask.sum())} of {len(last.mask)} blocks in the "
                    f"last step (p = {last.p:.2f})"
                )
        self._say(f"{state}: step {done} of {self.steps}. " + "; ".join(parts) + ".")

    def _say(self, text: str) -> None:
        self.text.value = f'<span aria-live="polite">{text}</span>'


async def _let_kernel_listen() -> None:
    """Let the kernel handle what the browser sent. Below version 7, ipykernel does so only when it is polled."""
    await asyncio.sleep(0)
    if int(version("ipykernel").split(".")[0]) < 7:
        from jupyter_ui_poll import ui_events

        with ui_events() as poll:
            poll(10)
