"""A slider along the line between two runs: what does a mixture of them read?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from coto_lab.evaluation import Scores
from coto_lab.figures.interpolation import line_explorer_figure
from coto_lab.probes.flips import Flips
from coto_lab.probes.interpolation import Curve, line
from coto_lab.run import Run
from coto_lab.tasks import Task
from coto_lab.widgets._field import NumberField
from coto_lab.widgets._mixtures import MixtureView

_ALPHAS = torch.linspace(0, 1, 21, dtype=torch.float64)


class InterpolationExplorer(MixtureView):
    """Mix two runs of each method, (1 - α)·first + α·second: accuracy, loss, and the digits that flip on the way.

    Args:
        task: a task of grey images, the one that the runs were trained on.
        partners: method name -> second run.
        runs: method name -> first run; None waits for `take`.
        images: how many test images at most are read; they are evenly spaced over the test set.

    Attributes:
        alpha: `NumberField` from 0 (the first run alone) to 1; takes the nearest of the 21 mixtures.
        how, method, progress, scores: as in `MixtureView`.

    Raises:
        ValueError: no partners; a partner of another task or base; ``images`` below 1; what `take` refuses.
    """

    def __init__(self, task: Task, partners: Mapping[str, Run], runs: Mapping[str, Run] | None = None, images: int = 410):
        self.alpha = NumberField("α", 0.5, 0, 1, 0.05)
        others = {name: [run] for name, run in partners.items()}
        super().__init__(task, others, line(_ALPHAS), [self.alpha], "coto-interpolation", images)
        self.alpha.observe(self._moved, "value")
        if runs is not None:
            self.take(runs)

    def _moved(self, _: Any) -> None:
        near = _ALPHAS[self._position()].item()
        if abs(self.alpha.value - near) > 1e-6:  # a number between two mixtures was typed
            self.alpha.value = near
        else:
            self.show()

    def _position(self) -> int:
        return round(self.alpha.value * (len(_ALPHAS) - 1))

    def _place(self, position: int) -> str:
        return f"At α = {_ALPHAS[position].item():.2f}"

    def _figure(self, scores: Mapping[str, Scores], changed: Flips | None) -> Any:
        curves = {
            name: Curve(_ALPHAS, scores[name].accuracy, scores[name].loss, self.how.value) if name in scores else None
            for name in self._partners
        }
        images = self.task.test_batch["pixel_values"]
        figure = getattr(self, "figure", None)
        return line_explorer_figure(curves, self._position(), changed, images, self.task.classes, figure)
