"""Linear mode connectivity: scores of the mixtures of two runs, on the straight line between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.ground.numbers import whole_number
from coto_lab.merging.merge import merge
from coto_lab.scoring.evaluator import Evaluator, evaluator_for
from coto_lab.scoring.sources import Source, adapter_of
from coto_lab.scoring.variant import Variant
from coto_lab.tasks import Task
from coto_lab.training.run import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores along the line from run a (alpha = 0) to run b (alpha = 1).

    Attributes:
        alphas: float64 ``[n]``, rising from 0 to 1.
        accuracy: share of right answers on the test set, float64 ``[n]``.
        loss: mean cross-entropy in nats, float64 ``[n]``.
        how: ``"fuse"`` or ``"ensemble"``.
    """

    alphas: Float[Tensor, " n"]
    accuracy: Float[Tensor, " n"]
    loss: Float[Tensor, " n"]
    how: str

    @property
    def barrier(self) -> float:
        """The largest rise of the loss above the straight line between its two ends, in nats; 0 if there is no rise.

        Source: Frankle et al. 2020 (arXiv:1912.05671); Entezari et al. 2022 (arXiv:2110.06296), definition 1.
        """
        return _excess(self.alphas, self.loss)

    @property
    def accuracy_barrier(self) -> float:
        """The largest fall of the accuracy below the straight line between its two ends; 0 if there is no fall."""
        return _excess(self.alphas, -self.accuracy)

    def frame(self) -> pd.DataFrame:
        """One row per alpha: alpha, accuracy, loss."""
        import pandas as pd

        return pd.DataFrame({name: getattr(self, name).numpy() for name in ("alphas", "accuracy", "loss")})


def _excess(alphas: Tensor, values: Tensor) -> float:
    straight = (1 - alphas) * values[0] + alphas * values[-1]
    return (values - straight).max().item()  # the difference is 0 at both ends, so the maximum is >= 0


def interpolate(
    task: Task,
    run_a: Source,
    run_b: Source,
    alphas: int | Sequence[float] = 21,
    how: str = "fuse",
    evaluator: Evaluator | None = None,
) -> Curve:
    """Score the mixtures (1 - α)·a + α·b on the task's test set.

    Args:
        task: the task that both runs were trained on.
        run_a, run_b: runs or adapters of one base model, or their folders.
        alphas: the number of evenly spaced mixtures (at least 2), or their values of α, rising from 0 to 1.
        how: ``"fuse"`` averages the factors A and B, so that between the ends ΔW is *not* the average of the two updates;
            ``"ensemble"`` averages ΔW itself (LoRA only).
        evaluator: an evaluator to reuse.

    Raises:
        ValueError: a run is of another task or base; the runs have different ranks and ``how`` is ``"fuse"``; ``alphas`` is
            outside [0, 1] or does not rise from 0 to 1; ``how`` is unknown.

    Source: arXiv:2506.05713, linear interpolation of two adapters.
    """
    ends = [adapter_of(task, source, name) for name, source in (("run_a", run_a), ("run_b", run_b))]
    points = _check_alphas(alphas)
    scores = evaluator_for(task, evaluator)(mixtures(ends, line(points), how))
    return Curve(points, scores.accuracy, scores.loss, how)


def mixtures(runs: Sequence[Adapter | Run], weights: Float[Tensor, "P {len(runs)}"], how: str = "fuse") -> list[Variant]:
    """P mixtures of n runs of one base model, all gates open; each is named by its weights, such as ``"0.25:0.75"``.

    Args:
        runs: n runs or adapters.
        weights: the share of each run, ``[P, n]``.
        how: ``"fuse"`` averages the factors A and B, ``"ensemble"`` averages ΔW itself (LoRA only); see `merge`.

    Raises:
        ValueError: ``how`` is unknown, or the runs cannot be merged.
    """
    return [Variant(merge(runs, how, row), name=":".join(f"{w:.3g}" for w in row)) for row in weights.tolist()]


def line(alphas: Float[Tensor, " n"]) -> Float[Tensor, "n 2"]:
    """The weights of two runs, ``[n, 2]``, for the given shares of the second run, ``[n]``."""
    return torch.stack([1 - alphas, alphas], dim=1)


def _check_alphas(alphas: int | Sequence[float]) -> Tensor:
    if isinstance(alphas, Real):
        return torch.linspace(0, 1, whole_number("alphas", alphas, 2), dtype=torch.float64)
    try:
        points = torch.as_tensor(alphas, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"alphas={alphas!r}: give a number of points, or a list of numbers from 0 to 1.") from error
    if ((points < 0) | (points > 1)).any():
        raise ValueError(f"alphas={points.tolist()}: all must lie in [0, 1], between the two runs.")
    if len(points) < 2 or points[0] != 0 or points[-1] != 1 or not (points.diff() > 0).all():
        raise ValueError(f"alphas={points.tolist()}: must rise from 0 to 1 and include both; or give their number.")
    return points
