"""Which examples two variants answer differently."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Int64
from torch import Tensor

from coto_lab.scoring.scores import Scores


@dataclass(frozen=True, eq=False)
class Flips:
    """The F examples whose answer changes from one variant to another.

    If there are class logits, these are the examples whose predicted class changes, also from one wrong class to another. If
    there are none, these are the examples that only one of the two variants answers correctly.

    Attributes:
        indices: places of the examples in the split, in rising order, int64 ``[F]``.
        right_before, right_now: whether each variant is right, ``BoolTensor [F]``.
        before, now: the predicted classes, int64 ``[F]``; None for tasks without classes.
        said_before, said_now: the answers as text, F strings; None where the scores have none.
    """

    indices: Int64[Tensor, " F"]
    right_before: Bool[Tensor, " F"]
    right_now: Bool[Tensor, " F"]
    before: Int64[Tensor, " F"] | None = None
    now: Int64[Tensor, " F"] | None = None
    said_before: tuple[str, ...] | None = None
    said_now: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def spoiled(self) -> int:
        """How many examples were answered correctly before and are answered wrongly now."""
        return int((self.right_before & ~self.right_now).sum())

    @property
    def mended(self) -> int:
        """How many examples were answered wrongly before and are answered correctly now."""
        return int((self.right_now & ~self.right_before).sum())


def flips(scores: Scores, before: int, now: int) -> Flips:
    """The examples that flip from variant ``before`` to variant ``now``; both are given by their places in ``scores``."""
    right = scores.values["correct"][[before, now]] == 1
    if scores.outputs is None:
        indices = (right[0] != right[1]).nonzero().flatten()
        said = [None if scores.said is None else tuple(scores.said[i][j] for j in indices.tolist()) for i in (before, now)]
        return Flips(indices, right[0, indices], right[1, indices], said_before=said[0], said_now=said[1])
    read = scores.outputs[[before, now]].argmax(-1)
    indices = (read[0] != read[1]).nonzero().flatten()
    return Flips(indices, *right[:, indices], *read[:, indices])
