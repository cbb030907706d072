"""Dropout stability: how well a run does when only j of its blocks are open, over many choices of these blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from coto_lab.ground.numbers import MAX_SEED, whole_number
from coto_lab.scoring.evaluator import Evaluator, evaluator_for
from coto_lab.scoring.sources import Source, adapter_of
from coto_lab.scoring.variant import Variant
from coto_lab.tasks import Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Stability:
    """Scores of M masks over L blocks; every number of open blocks from 0 to L occurs.

    Attributes:
        masks: which blocks are open, ``BoolTensor [M, L]``.
        accuracy: share of right answers on the test set, float64 ``[M]``.
        loss: mean cross-entropy in nats, float64 ``[M]``.
    """

    masks: Bool[Tensor, "M L"]
    accuracy: Float[Tensor, " M"]
    loss: Float[Tensor, " M"]

    @property
    def opened(self) -> Int64[Tensor, " M"]:
        """How many blocks each mask opens: int64 ``[M]``."""
        return self.masks.sum(1)

    @property
    def share(self) -> Float[Tensor, " L_plus_1"]:
        """j / L, the share of open blocks, for j = 0 ... L: float64 ``[L + 1]``."""
        return torch.linspace(0, 1, self.masks.shape[1] + 1, dtype=torch.float64)

    def spread(self, score: Literal["accuracy", "loss"] = "accuracy") -> dict[str, Float[Tensor, " L_plus_1"]]:
        """``"mean"``, ``"std"``, ``"min"`` and ``"max"`` over the masks with j open blocks, each float64 ``[L + 1]``.

        The standard deviation divides by the number of masks, so it is 0 where only one mask has j open blocks.
        """
        values = getattr(self, score)
        groups = [values[self.opened == j] for j in range(self.masks.shape[1] + 1)]
        return {
            "mean": torch.stack([group.mean() for group in groups]),
            "std": torch.stack([group.std(correction=0) for group in groups]),
            "min": torch.stack([group.min() for group in groups]),
            "max": torch.stack([group.max() for group in groups]),
        }

    def frame(self) -> pd.DataFrame:
        """One row per j: open, share, masks (their number), accuracy_mean, _std, _min and _max, loss_mean and _std."""
        import pandas as pd

        accuracy, loss = self.spread("accuracy"), self.spread("loss")
        columns = {f"accuracy_{name}": values.numpy() for name, values in accuracy.items()}
        columns |= {f"loss_{name}": loss[name].numpy() for name in ("mean", "std")}
        n_masks = self.opened.bincount().numpy()
        return pd.DataFrame({"open": range(len(self.share)), "share": self.share.numpy(), "masks": n_masks, **columns})


def stability(task: Task, run: Source, samples: int = 20, seed: int = 0, evaluator: Evaluator | None = None) -> Stability:
    """Score a run on the task's test set with exactly j of its L blocks open, for j = 0 (the base model) to L (the run).

    If at most ``samples`` masks have j open blocks, all of these masks are scored; if there are more, ``samples`` distinct
    masks are drawn at random. With L = 8 and 20 samples, 118 of the 256 masks are scored.

    Args:
        task: the task that the run was trained on.
        run: the run or adapter, or its folder.
        samples: the largest number of masks for one j.
        seed: decides which masks are drawn.
        evaluator: an evaluator to reuse.

    Raises:
        ValueError: the run is of another task or base, ``samples`` is below 1, or ``seed`` is out of range.

    Source: arXiv:2506.05713, layer-wise dropout stability. Kuditipudi et al. 2019 (arXiv:1906.06247), definition 1, call a
    network dropout stable if in every layer *some* half of the units can be dropped and the other half rescaled. Here whole
    blocks lose their adapter, nothing is rescaled, and the scores are over all masks, not only over the best one.
    """
    samples = whole_number("samples", samples, 1)
    rng = np.random.default_rng(whole_number("seed", seed, 0, MAX_SEED))
    adapter = adapter_of(task, run, "run")
    evaluator = evaluator_for(task, evaluator)
    n_blocks = len(evaluator.sites(adapter).block_names)
    masks = torch.cat([masks_with(n_blocks, j, samples, rng) for j in range(n_blocks + 1)])
    scores = evaluator([Variant(adapter, mask) for mask in masks])
    return Stability(masks, scores.accuracy, scores.loss)


def pool(parts: Sequence[Stability]) -> Stability:
    """The masks of several runs as one record, e.g. of all seeds of a method.

    Raises:
        ValueError: ``parts`` is empty, or the records have different numbers of blocks.
    """
    counts = sorted({part.masks.shape[1] for part in parts})
    if len(counts) != 1:
        raise ValueError(f"parts must be at least one record, all of the same number of blocks; found {counts}.")
    return Stability(
        torch.cat([part.masks for part in parts]),
        torch.cat([part.accuracy for part in parts]),
        torch.cat([part.loss for part in parts]),
    )


def masks_with(n_blocks: int, n_open: int, samples: int, rng: np.random.Generator) -> Bool[Tensor, "m {n_blocks}"]:
    """All masks with ``n_open`` open blocks, but at most ``samples`` distinct random ones: ``BoolTensor [m, n_blocks]``."""
    if math.comb(n_blocks, n_open) <= samples:
        chosen = list(combinations(range(n_blocks), n_open))
    else:
        # A mask that was drawn before is ignored. This is drawing without replacement, without a list of all masks.
        found: dict[tuple[int, ...], None] = {}
        while len(found) < samples:
            found[tuple(sorted(rng.choice(n_blocks, n_open, replace=False).tolist()))] = None
        chosen = list(found)
    masks = torch.zeros(len(chosen), n_blocks, dtype=torch.bool)
    return masks.scatter(1, torch.tensor(chosen, dtype=torch.long).reshape(len(chosen), n_open), True)
