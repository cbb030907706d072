"""The common part of both mixture explorers: all mixtures on a grid are scored once, so that a slider only looks up scores."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import ipywidgets as widgets
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.figures.examples import class_word
from coto_lab.figures.flips import SHOWN
from coto_lab.probes.flips import Flips, flips
from coto_lab.probes.interpolation import mixtures
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.sources import Source, adapter_of, check_sources
from coto_lab.tasks import Task
from coto_lab.tasks.task import has_outputs
from coto_lab.widgets.evenly_spaced import evenly_spaced
from coto_lab.widgets.message import Message
from coto_lab.widgets.view import View
from coto_lab.widgets.words import verb

Job = tuple[str, Tensor]
Bar = Callable[[Sequence[Job]], Iterable[Job]]

_TOGETHER = 7  # mixtures that are scored between two updates of the progress bar, which takes about a second
_HOW = {"fuse": "fusion (average the factors A and B)", "ensemble": "ensemble (average the updates ΔW)"}


class MixtureView(View):
    """Mixtures of a first run, which `take` gets, with partners of the same method; several methods are shown side by side.

    A subclass adds the controls that choose a mixture and connects them to `show`. Its method `_chosen` says which mixture
    they choose, `_place` how a sentence names the mixture, and `_figure` draws it.

    Args:
        task: the task that the runs were trained on.
        partners: method name -> the other runs: runs, adapters or folders.
        weights: a grid of mixtures, ``[P, 1 + partners]``; the first mixture is the first run alone.
        controls: the controls that choose a mixture.
        css_class: as in `View`.
        images: the largest number of test examples that are scored; they are evenly spaced over the test set.

    Attributes:
        how: the choice between ``"fuse"`` and ``"ensemble"``.
        message: the line that says what to enter.
        method: the choice of the method whose flips are shown.
        progress: a bar that is visible while a choice of `how` is scored for the first time.

    Raises:
        TypeError: ``task`` lacks a part of the protocol, or a partner is not a run, adapter or folder.
        ValueError: there are no partners; a partner is of another task or base; ``images`` is below 1.
    """

    def __init__(
        self,
        task: Task,
        partners: Mapping[str, Sequence[Source]],
        weights: Tensor,
        controls: Sequence[widgets.Widget],
        css_class: str,
        images: int,
    ):
        if not partners:
            raise ValueError("partners is empty: give a second run for at least one method.")
        self._scored = evenly_spaced(task, images)
        self.task = self._scored.task
        self._evaluator = Evaluator(self.task)
        self._partners = {
            name: [adapter_of(task, source, f"partners[{name!r}]") for source in others] for name, others in partners.items()
        }
        self._weights = weights
        self._runs: dict[str, Adapter] = {}
        self._scores: dict[str, dict[str, Scores]] = {}  # by how
        self.how = widgets.ToggleButtons(options=list(_HOW), description="mixture", tooltips=list(_HOW.values()))
        self.method = widgets.ToggleButtons(options=list(partners), description=f"{self._noun()}s of")
        self.progress = widgets.IntProgress(description="scoring", layout={"display": "none"})
        self._controls = [self.how, self.method, *controls]
        self.message = Message(self._controls)
        choices = widgets.HBox([self.how, self.method, self.progress], layout={"flex_flow": "row wrap"})
        super().__init__(self._figure(*self._chosen({}), None), [choices, *controls, self.message], css_class)
        self.how.observe(self._mix, "value")
        self.method.observe(self.show, "value")
        self._enable(False)
        self.say("There is no run yet. First run the cell that trains, or pass finished runs to <code>take</code>.")

    @property
    def scores(self) -> dict[str, Scores] | None:
        """Scores of the grid: method name -> P variants; None before there are runs."""
        return self._scores.get(self.how.value)

    def take(self, runs: Mapping[str, Source]) -> None:
        """From now on, mix these runs, adapters or folders (method name -> run) with their partners; this takes seconds.

        Raises:
            ValueError: there are no runs; a method has no partner; a run is of another task or base, or cannot be merged with
                its partners. The view is as before.
        """
        check_sources("runs", runs)
        if not runs.keys() <= self._partners.keys():
            raise ValueError(f"runs has {list(runs)}: give runs of methods that have a partner: {list(self._partners)}.")
        adapters = {name: adapter_of(self.task, source, f"runs[{name!r}]") for name, source in runs.items()}
        from tqdm.auto import tqdm

        scores = self._score(adapters, self.how.value, self._weights, partial(tqdm, desc="mixtures"))
        self._runs, self._scores = adapters, {self.how.value: scores}
        if self.method.options != tuple(runs):
            self.method.options = list(runs)
        self._enable(True)
        self.show()

    def show(self, _: Any = None) -> None:
        """Draw the chosen mixture, and say its accuracy."""
        if self.scores is None:
            return
        scores, place = self._chosen(self.scores)
        method = self.method.value
        changed = flips(scores[method], 0, place)
        self._figure(scores, place, changed)
        told = ", ".join(
            f"{name} <b>{own.accuracy[place].item():.1%}</b> (loss {own.loss[place].item():.2f})"
            for name, own in scores.items()
        )
        first = f" The first {SHOWN} are shown." if len(changed) > SHOWN else ""
        self.say(
            f"{self._place()}, {_HOW[self.how.value]}: accuracy on {len(self._scored.examples)} {self._scored.words} "
            f"is {told}. {method} {self._change(changed)}.{first}"
        )

    def _change(self, changed: Flips) -> str:
        if changed.before is None:
            return (
                f"answers {changed.spoiled} of them correctly with its first run alone and wrongly here, {changed.mended} "
                "wrongly there and correctly here"
            )
        return (
            f"{verb(self.task)} {len(changed)} of them differently than its first run alone: {changed.spoiled} correctly "
            f"there and wrongly here, {changed.mended} wrongly there and correctly here"
        )

    def _noun(self) -> str:
        word = class_word(self.task.classes)
        return word if word == "digit" else self._scored.kind

    def _chosen(self, scores: dict[str, Scores]) -> tuple[dict[str, Scores], int]:
        """The scores of the grid and the place of the chosen mixture; a mixture between two grid points is added to them."""
        raise NotImplementedError

    def _place(self) -> str:
        """The name of the chosen mixture in a sentence."""
        raise NotImplementedError

    def _figure(self, scores: Mapping[str, Scores], place: int, changed: Flips | None) -> Any:
        """Redraw the figure in place for what `_chosen` returned; without scores, the figure is empty."""
        raise NotImplementedError

    def _mix(self, change: dict[str, Any]) -> None:
        how = change["new"]
        if self._runs and how not in self._scores:
            try:
                self._scores[how] = self._score(self._runs, how, self._weights, self._bar)
            except BaseException as error:  # the adapters have no ΔW to average, or the user interrupted the kernel
                self.how.value = change["old"]
                if not isinstance(error, ValueError):
                    raise
                self.say(html.escape(f"{how} is not possible with these runs: {error}"))
                return
        self.show()

    def _score(self, runs: Mapping[str, Adapter], how: str, weights: Tensor, bar: Bar) -> dict[str, Scores]:
        jobs = [(name, some) for name in runs for some in weights.split(_TOGETHER)]
        parts: dict[str, list[Scores]] = {name: [] for name in runs}
        for name, some in bar(jobs):
            variants = mixtures([runs[name], *self._partners[name]], some, how)
            parts[name].append(self._evaluator(variants, outputs=has_outputs(self.task)))
        return {name: Scores.join(own) for name, own in parts.items()}

    def _bar(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """A progress bar for callbacks, because the output of tqdm is not visible in a callback."""
        self._enable(False)
        self.progress.max, self.progress.value, self.progress.layout.display = len(jobs), 0, ""
        try:
            for job in jobs:
                yield job
                self.progress.value += 1
        finally:
            self.progress.layout.display = "none"
            self._enable(True)

    def _enable(self, enabled: bool) -> None:
        for control in self._controls:
            control.disabled = not enabled
