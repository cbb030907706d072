"""Scores of the mixtures of three runs, on the triangle that the runs span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.ground.numbers import whole_number
from coto_lab.probes.interpolation import mixtures
from coto_lab.scoring.evaluator import Evaluator, evaluator_for
from coto_lab.scoring.sources import Source, adapter_of
from coto_lab.tasks import Task
from coto_lab.training.run import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Simplex:
    """Scores of P mixtures of three runs.

    Attributes:
        weights: the share of each run, float64 ``[P, 3]``; rows add up to 1, and the three corners are among them.
        accuracy: share of right answers on the test set, float64 ``[P]``.
        loss: mean cross-entropy in nats, float64 ``[P]``.
        how: ``"fuse"`` or ``"ensemble"``.
        corners: names of the three runs for figures.
    """

    weights: Float[Tensor, "P 3"]
    accuracy: Float[Tensor, " P"]
    loss: Float[Tensor, " P"]
    how: str
    corners: tuple[str, str, str]

    @property
    def barrier(self) -> float:
        """The largest rise of the loss above the plane through the three corners, in nats; 0 if it never rises above the plane.

        Source: the error barrier of Frankle et al. 2020 (arXiv:1912.05671), extended to a third run.
        """
        return self._excess(self.loss)

    @property
    def accuracy_barrier(self) -> float:
        """The largest fall of the accuracy below the plane through the three corners; 0 if it never falls below the plane."""
        return self._excess(-self.accuracy)

    @property
    def centre(self) -> int | None:
        """The row of the 1:1:1 mixture; None if this mixture is not among the points."""
        equal = (self.weights == self.weights[:, :1]).all(1)
        return int(equal.int().argmax()) if equal.any() else None

    def frame(self) -> pd.DataFrame:
        """One row per mixture: w1, w2, w3 (shares of the three runs), accuracy, loss."""
        import pandas as pd

        columns = {f"w{i}": column.numpy() for i, column in enumerate(self.weights.T, start=1)}
        return pd.DataFrame({**columns, "accuracy": self.accuracy.numpy(), "loss": self.loss.numpy()})

    def _excess(self, values: Tensor) -> float:
        at_corners = values[self.weights.argmax(0)]
        return (values - self.weights @ at_corners).max().item()  # the difference is 0 at the corners, so the maximum is >= 0


def simplex(
    task: Task, runs: Sequence[Source], steps: int = 9, how: str = "fuse", evaluator: Evaluator | None = None
) -> Simplex:
    """Score the mixtures w₁·a + w₂·b + w₃·c on the task's test set, for all weights that are multiples of 1 / steps.

    There are P = (steps + 1)(steps + 2) / 2 mixtures. The mixture 1:1:1 is among them if ``steps`` is a multiple of 3.

    Args:
        task: the task that the runs were trained on.
        runs: three runs or adapters, or their folders.
        steps: the number of parts into which each edge of the triangle is divided.
        how: ``"fuse"`` averages the factors A and B, ``"ensemble"`` averages ΔW itself (LoRA only); see `merge`.
        evaluator: an evaluator to reuse.

    Raises:
        ValueError: there are not three runs; a run is of another task or base; the runs have different ranks and ``how`` is
            ``"fuse"``; ``steps`` is below 1; ``how`` is unknown.

    Source: arXiv:2506.05713, fusion of three adapters, extended from 1:1:1 to all ratios.
    """
    if len(runs) != 3:
        raise ValueError(f"runs has {len(runs)} runs: a triangle has exactly 3 corners. Use merge() for other numbers.")
    adapters = [adapter_of(task, run, f"runs[{i}]") for i, run in enumerate(runs)]
    weights = barycentric_grid(steps)
    scores = evaluator_for(task, evaluator)(mixtures(adapters, weights, how))
    return Simplex(weights, scores.accuracy, scores.loss, how, corner_names(runs))


def corner_names(runs: Sequence[Source]) -> tuple[str, str, str]:
    """Names of the three runs for figures: their seeds, or the names of their folders."""
    first, second, third = (_name(source, i) for i, source in enumerate(runs))
    return first, second, third


def _name(source: Source, i: int) -> str:
    if isinstance(source, Run):
        return f"seed {source.recipe.seed}"
    return f"adapter {i}" if isinstance(source, Adapter) else Path(source).name


def barycentric_grid(steps: int) -> Float[Tensor, "P 3"]:
    """All triples of non-negative multiples of 1 / steps that add up to 1, float64 ``[P, 3]``; the first number falls from 1.

    Raises:
        ValueError: ``steps`` is below 1.
    """
    steps = whole_number("steps", steps, 1)
    counts = [(i, j, steps - i - j) for i in range(steps, -1, -1) for j in range(steps - i, -1, -1)]
    return torch.tensor(counts, dtype=torch.float64) / steps
