"""Trainings that take turns, and what they score on the way: what the live view shows."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping

from coto_lab.adapters.adapter import Adapter
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.variant import Variant
from coto_lab.tasks import Task
from coto_lab.training.history import History
from coto_lab.training.loop import Training
from coto_lab.training.recipe import Recipe
from coto_lab.training.run import Run

_SCORES = 16  # in a whole training, after that of the untrained adapters; on the digits each takes as long as four steps


class SideBySide:
    """One training per recipe, step by step in turns; now and then their adapters are scored together.

    One of these is at work in a kernel: a new one asks the one before to stop. ``stopping`` and ``paused`` are requests; the
    caller of `step` checks them between two steps.

    Args:
        task: what to train on.
        recipes: name -> recipe; all of the same number of steps.
        evaluator: scores the adapters; it may hold a part of the test set.

    Attributes:
        trainings: name -> training.
        failed: name -> what went wrong, of trainings whose loss became NaN or infinite; they are not continued.
        accuracy: name -> {number of steps done: share of test examples answered correctly}.
        stopping, paused: what was requested.
    """

    def __init__(self, task: Task, recipes: Mapping[str, Recipe], evaluator: Evaluator):
        self.trainings = {name: Training(task, recipe) for name, recipe in recipes.items()}
        self.steps = next(iter(recipes.values())).steps
        self.failed: dict[str, str] = {}
        self.accuracy: dict[str, dict[int, float]] = {name: {} for name in recipes}
        self.stopping = self.paused = False
        self._evaluator = evaluator
        self._seconds = 0.0  # that the steps so far took
        _become_the_only(self)

    @property
    def done(self) -> int:
        """Steps taken."""
        return max(len(training.records) for training in self.trainings.values())

    @property
    def over(self) -> bool:
        """Whether no training goes on."""
        return self.done == self.steps or not self._sound

    @property
    def runs(self) -> dict[str, Run]:
        """Name -> run as it is now, of the trainings that did not fail."""
        return {name: training.run() for name, training in self._sound.items()}

    @property
    def histories(self) -> dict[str, History]:
        """Name -> the steps so far."""
        return {name: training.history() for name, training in self.trainings.items()}

    @property
    def seconds_left(self) -> float:
        """Until the end, if the steps go on as before."""
        return self._seconds / max(1, self.done) * (self.steps - self.done)

    @property
    def _sound(self) -> dict[str, Training]:
        return {name: training for name, training in self.trainings.items() if name not in self.failed}

    def step(self) -> None:
        """One step of each training, and scores when it is time for them."""
        started = time.perf_counter()
        if self.done == 0:
            self.score()
        for name, training in self._sound.items():
            try:
                training.step()
            except FloatingPointError as error:
                self.failed[name] = str(error)
        if self.done % max(1, self.steps // _SCORES) == 0:
            self.score()
        self._seconds += time.perf_counter() - started

    def score(self) -> None:
        """Score the adapters as they are, all in one batch, unless they have been scored at this step already."""
        due = {name: training for name, training in self._sound.items() if self.done not in self.accuracy[name]}
        if due:
            scores = self._evaluator([Variant(Adapter.from_model(training.model), name=name) for name, training in due.items()])
            for name, accuracy in zip(scores.names, scores.accuracy.tolist(), strict=True):
                self.accuracy[name][self.done] = accuracy

    def open_gates(self) -> None:
        """Open all gates: the trainings have ended."""
        for training in self.trainings.values():
            training.gates.open()


_latest: weakref.ref[SideBySide] | None = None


def _become_the_only(latest: SideBySide) -> None:
    global _latest
    before = _latest and _latest()
    if before:
        before.stopping = True
    _latest = weakref.ref(latest)
