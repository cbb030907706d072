"""What both explorers of mixtures share: all mixtures on a grid are scored once, and moving a slider only looks them up."""

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
from coto_lab.scoring.sources import Source, adapter_of
from coto_lab.tasks import Task
from coto_lab.widgets.evenly_spaced import evenly_spaced
from coto_lab.widgets.message import Message
from coto_lab.widgets.view import View
from coto_lab.widgets.words import verb

Job = tuple[str, Tensor]
Bar = Callable[[Sequence[Job]], Iterable[Job]]

_TOGETHER = 7  # mixtures scored between two moves of the progress bar: about a second
_HOW = {"fuse": "fusion (average the factors A and B)", "ensemble": "ensemble (average the updates ΔW)"}


class MixtureView(View):
    """Mixtures of a first run, which `take` brings, with partners of the same method; several methods side by side.

    A subclass adds the controls that choose a mixture and connects them to `show`, and says by `_chosen`, `_place` and
    `_figure` which one they choose, how to call it, and how to draw it.

    Args:
        task: the one that the runs were trained on.
        partners: method name -> the other runs: runs, adapters or folders.
        weights: a grid of mixtures, ``[P, 1 + partners]``; the first one is the first run alone.
        controls: choose one of them.
        css_class: as in `View`.
        images: how many test examples at most are scored; they are evenly spaced over the test set.

    Attributes:
        how: the choice between ``"fuse"`` and ``"ensemble"``.
        message: the line that says what to enter.
        method: whose flips are shown.
        progress: a bar that is seen while a choice of `how` is scored for the first time.

    Raises:
        TypeError: ``task`` lacks a part of the protocol; a partner that is no run, adapter or folder.
        ValueError: no partners; a partner of another task or base; ``images`` below 1.
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
        """Of the grid, method name -> P variants; None before there are runs."""
        return self._scores.get(self.how.value)

    def take(self, runs: Mapping[str, Source]) -> None:
        """Mix these runs, adapters or folders, by method name, with their partners from now on; it takes seconds.

        Raises:
            ValueError: no runs; a method without a partner; a run of another task or base, or one that does not merge with its
                partners. The view is as before.
        """
        if not runs or not runs.keys() <= self._partners.keys():
            raise ValueError(
                f"runs has {list(runs)}: give at least one, of methods that have a partner: {list(self._partners)}."
            )
        adapters = {name: adapter_of(self.task, source, f"runs[{name!r}]") for name, source in runs.items()}
        from tqdm.auto import tqdm

        scores = self._score(adapters, self.how.value, self._weights, partial(tqdm, desc="mixtures", leave=False))
        self._runs, self._scores = adapters, {self.how.value: scores}
        if self.method.options != tuple(runs):
            self.method.options = list(runs)
        self._enable(True)
        self.show()

    def show(self, _: Any = None) -> None:
        """Draw the mixture that is chosen, and say how well it does."""
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
        """These scores of the grid, with those of the chosen mixture if it is not on it, and its place among them."""
        raise NotImplementedError

    def _place(self) -> str:
        """What the sentence calls that mixture."""
        raise NotImplementedError

    def _figure(self, scores: Mapping[str, Scores], place: int, changed: Flips | None) -> Any:
        """The figure of what `_chosen` returned, drawn anew in place; without scores, an empty one."""
        raise NotImplementedError

    def _mix(self, change: dict[str, Any]) -> None:
        how = change["new"]
        if self._runs and how not in self._scores:
            try:
                self._scores[how] = self._score(self._runs, how, self._weights, self._bar)
            except BaseException as error:  # adapters without a ΔW to average, or the kernel's stop button
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
            parts[name].append(self._evaluator(variants, outputs=bool(self.task.classes)))
        return {name: Scores.join(own) for name, own in parts.items()}

    def _bar(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Like tqdm, for callbacks, whose output nobody sees."""
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
