"""Which examples two variants classify differently."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from coto_lab.scoring.evaluator import Scores


@dataclass(frozen=True, eq=False)
class Flips:
    """The F examples whose predicted class changes from one variant to another.

    Attributes:
        indices: their places in the split, rising, int64 ``[F]``.
        labels: the true classes, int64 ``[F]``.
        before, now: the predicted classes, int64 ``[F]``.
    """

    indices: Tensor
    labels: Tensor
    before: Tensor
    now: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def spoiled(self) -> int:
        """How many were right before and are wrong now."""
        return int((self.before == self.labels).sum())

    @property
    def mended(self) -> int:
        """How many were wrong before and are right now."""
        return int((self.now == self.labels).sum())


def flips(scores: Scores, before: int, now: int) -> Flips:
    """What changes from variant ``before`` to variant ``now``, given by their places in ``scores``."""
    first, second = scores.logits[[before, now]].argmax(-1)
    indices = (first != second).nonzero().flatten()
    return Flips(indices, scores.labels[indices], first[indices], second[indices])
