"""A slider along the line between two runs, to see how well their mixtures do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from coto_lab.figures.interpolation import line_explorer_figure
from coto_lab.probes.flips import Flips
from coto_lab.probes.interpolation import Curve, line
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.sources import Source, check_sources
from coto_lab.tasks import Task
from coto_lab.widgets.field import NumberField
from coto_lab.widgets.mixtures import MixtureView

_ALPHAS = torch.linspace(0, 1, 21, dtype=torch.float64)


class InterpolationExplorer(MixtureView):
    """Mix two runs of each method, (1 - α)·first + α·second, and see accuracy, loss, and the examples that flip.

    Instead of a run, an adapter or a folder can be given, because the training history is not needed.

    Args:
        task: the task that the runs were trained on.
        partners: method name -> second run.
        runs: method name -> first run; with None, the view waits for `take`.
        images: the largest number of test examples that are scored; they are evenly spaced over the test set.

    Attributes:
        alpha: `NumberField` from 0 (the first run alone) to 1. The 21 mixtures on the slider are scored beforehand; a mixture
            between them is scored when its α is typed.
        how, method, message, progress, scores: as in `MixtureView`.

    Raises:
        TypeError: ``task`` lacks a part of the protocol, or something given as a run is not a run, adapter or folder.
        ValueError: there are no partners; a partner is of another task or base; ``images`` is below 1; or `take` raises it.
    """

    def __init__(self, task: Task, partners: Mapping[str, Source], runs: Mapping[str, Source] | None = None, images: int = 410):
        self.alpha = NumberField("α", 0.5, 0, 1, 0.05)
        self._alphas = _ALPHAS  # the values of α whose scores are drawn
        check_sources("partners", partners)
        others = {name: [run] for name, run in partners.items()}
        super().__init__(task, others, line(_ALPHAS), [self.alpha], "coto-interpolation", images)
        self.alpha.observe(self.show, "value")
        if runs is not None:
            self.take(runs)

    def _chosen(self, scores: dict[str, Scores]) -> tuple[dict[str, Scores], int]:
        alpha = self.alpha.value
        gap = (_ALPHAS - alpha).abs()
        if gap.min() < 1e-6:
            self._alphas = _ALPHAS
            return scores, int(gap.argmin())
        here = torch.tensor([alpha], dtype=torch.float64)
        between = self._score(self._runs, self.how.value, line(here), iter)
        self._alphas, order = torch.cat([_ALPHAS, here]).sort()
        scores = {name: Scores.join([own, between[name]]).take(order) for name, own in scores.items()}
        return scores, int(order.argmax())

    def _place(self) -> str:
        return f"At α = {self.alpha.value:g}"

    def _figure(self, scores: Mapping[str, Scores], place: int, changed: Flips | None) -> Any:
        curves = {
            name: Curve(self._alphas, scores[name].accuracy, scores[name].loss, self.how.value) if name in scores else None
            for name in self._partners
        }
        figure = getattr(self, "figure", None)
        return line_explorer_figure(curves, place, changed, self._scored.examples, self.task.classes, figure)
