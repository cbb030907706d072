"""Trainings that take turns, and their scores during the training; the live view shows both."""

from __future__ import annotations

import time
import warnings
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

_SCORES = 16  # how often adapters are scored during a training; on the digits one scoring takes as long as four steps


class SideBySide:
    """One training per recipe, step by step in turns; at regular steps all adapters are scored together.

    Only one object of this class runs in a kernel at a time: a new object asks the one before it to stop. ``stopping`` and
    ``paused`` are requests; the caller of `step` checks them between two steps.

    Args:
        task: the task to train on.
        recipes: name -> recipe, all with the same number of steps.
        evaluator: scores the adapters, on the whole test set or on a part of it.

    Attributes:
        trainings: name -> training.
        failed: name -> error message, for trainings whose loss became NaN or infinite; they are not continued.
        accuracy: name -> {number of steps done: share of test examples answered correctly}.
        stopping, paused: whether a stop or a pause was requested.
    """

    def __init__(self, task: Task, recipes: Mapping[str, Recipe], evaluator: Evaluator):
        self.trainings = {name: Training(task, recipe) for name, recipe in recipes.items()}
        self.steps = next(iter(recipes.values())).steps
        self.failed: dict[str, str] = {}
        self.accuracy: dict[str, dict[int, float]] = {name: {} for name in recipes}
        self.stopping = self.paused = False
        self._evaluator = evaluator
        self._seconds = 0.0  # the time that the steps so far took
        _become_the_only(self)

    @property
    def done(self) -> int:
        """How many steps each training has taken."""
        return max(len(training.records) for training in self.trainings.values())

    @property
    def over(self) -> bool:
        """Whether all trainings have ended or failed."""
        return self.done == self.steps or not self._sound

    @property
    def runs(self) -> dict[str, Run]:
        """Name -> the run so far, for the trainings that did not fail."""
        return {name: training.run() for name, training in self._sound.items()}

    @property
    def histories(self) -> dict[str, History]:
        """Name -> the history so far."""
        return {name: training.history() for name, training in self.trainings.items()}

    @property
    def seconds_left(self) -> float:
        """The time until the end in seconds, if the remaining steps take as long as the steps so far."""
        return self._seconds / max(1, self.done) * (self.steps - self.done)

    @property
    def _sound(self) -> dict[str, Training]:
        return {name: training for name, training in self.trainings.items() if name not in self.failed}

    def step(self) -> None:
        """Take one step of each training, and score the adapters if a scoring is due after this step."""
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
        """Score the current adapters together, except those that were already scored after this step."""
        due = {name: training for name, training in self._sound.items() if self.done not in self.accuracy[name]}
        if due:
            variants = [Variant(Adapter.from_model(training.model), name=name) for name, training in due.items()]
            with warnings.catch_warnings():  # the view itself says which training diverges
                warnings.filterwarnings("ignore", message="'loss' is (nan|inf) for variants", category=UserWarning)
                scores = self._evaluator(variants)
            for name, accuracy in zip(scores.names, scores.accuracy.tolist(), strict=True):
                self.accuracy[name][self.done] = accuracy

    def open_gates(self) -> None:
        """Open all gates, at the end of the trainings."""
        for training in self.trainings.values():
            training.gates.open()


_latest: weakref.ref[SideBySide] | None = None


def _become_the_only(latest: SideBySide) -> None:
    global _latest
    before = _latest and _latest()
    if before:
        before.stopping = True
    _latest = weakref.ref(latest)
