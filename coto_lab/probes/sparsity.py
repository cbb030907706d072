"""Unstructured pruning: how well a run does when the small entries of its factors are set to 0."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.ground.numbers import real_number
from coto_lab.scoring.evaluator import Evaluator, evaluator_for
from coto_lab.scoring.sources import Source, adapter_of
from coto_lab.scoring.variant import Variant
from coto_lab.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

_FACTOR = re.compile(r"\.(lora|hira)_[AB](\.weight)?$")
_TENTHS = tuple(i / 10 for i in range(11))


@dataclass(frozen=True, eq=False)
class SparsityCurve:
    """Scores at S sparsities.

    Attributes:
        sparsity: share of the entries that are set to 0, in rising order, float64 ``[S]``.
        accuracy: share of right answers on the test set, float64 ``[S]``.
        loss: mean cross-entropy in nats, float64 ``[S]``.
    """

    sparsity: Float[Tensor, " S"]
    accuracy: Float[Tensor, " S"]
    loss: Float[Tensor, " S"]

    def frame(self) -> pd.DataFrame:
        """One row per sparsity: sparsity, accuracy, loss."""
        import pandas as pd

        return pd.DataFrame({name: getattr(self, name).numpy() for name in ("sparsity", "accuracy", "loss")})


def magnitude_prune(adapter: Adapter, sparsity: float, per: str = "adapter") -> Adapter:
    """The adapter with the ``round(sparsity * n)`` smallest of its n entries, ranked by magnitude, set to 0.

    The entries are those of the factors A and B of LoRA, DoRA or HiRA. Other trained tensors, such as DoRA's magnitudes, are
    kept. Of entries with equal magnitude, the first ones are set to 0.

    Magnitudes of different tensors are not comparable: the factors (cA, B/c) give the same ΔW = s·BA, but another ranking. B
    starts at 0 and A does not, so after a short training the entries of B are small, are pruned first, and ΔW is lost with
    them. ``per="tensor"`` does not have this problem.

    Args:
        adapter: the adapter to prune; it is not changed.
        sparsity: the share of the entries to set to 0, in [0, 1]. At 1, ΔW is 0.
        per: ``"adapter"`` ranks all entries together, so that some tensors lose more than others; ``"tensor"`` takes
            the same share from each.

    Raises:
        ValueError: ``sparsity`` is outside [0, 1], ``per`` is unknown, or the adapter has no factors A and B.

    Source: arXiv:2506.05713, unstructured magnitude pruning. ``global_unstructured`` and ``l1_unstructured`` in
    ``torch.nn.utils.prune`` set the same entries to 0.
    """
    if not 0 <= real_number("sparsity", sparsity) <= 1:
        raise ValueError(f"sparsity={sparsity!r}: must be a share in [0, 1].")
    if per not in ("adapter", "tensor"):
        raise ValueError(f"per={per!r}: must be 'adapter' (rank all entries together) or 'tensor' (the same share of each).")
    names = [name for name in adapter.tensors if _FACTOR.search(name)]
    if not names:
        raise ValueError(f"the adapter has no factors A and B to prune; it has {sorted(adapter.tensors)[:2]}.")
    pruned = dict(adapter.tensors)
    for group in [names] if per == "adapter" else [[name] for name in names]:
        entries = torch.cat([adapter.tensors[name].flatten() for name in group])
        order = entries.abs().argsort(stable=True)
        entries[order[: round(sparsity * len(entries))]] = 0  # `cat` made a copy, so the adapter does not change
        parts = entries.split([adapter.tensors[name].numel() for name in group])
        pruned |= {name: part.reshape(adapter.tensors[name].shape) for name, part in zip(group, parts, strict=True)}
    return replace(adapter, tensors=pruned)


def sparsity_curve(
    task: Task, run: Source, sparsities: Sequence[float] = _TENTHS, per: str = "adapter", evaluator: Evaluator | None = None
) -> SparsityCurve:
    """Score a run on the task's test set with more and more of its small entries set to 0.

    Args:
        task: the task that the run was trained on.
        run: the run or adapter, or its folder.
        sparsities: shares of the entries, in rising order, each in [0, 1].
        per: ``"adapter"`` ranks all entries together, ``"tensor"`` those of each tensor; see `magnitude_prune`.
        evaluator: an evaluator to reuse.

    Raises:
        ValueError: ``sparsities`` is empty, outside [0, 1] or not rising; the run is of another task or base; or
            `magnitude_prune` raises it.

    Source: arXiv:2506.05713, unstructured pruning over sparsity levels.
    """
    adapter = adapter_of(task, run, "run")
    points = torch.as_tensor(sparsities, dtype=torch.float64)
    if not len(points) or not ((points >= 0) & (points <= 1)).all() or not (points.diff() > 0).all():
        raise ValueError(f"sparsities={points.tolist()}: must be shares in [0, 1], at least one, and rise.")
    variants = [Variant(magnitude_prune(adapter, share, per), name=f"{share:.0%}") for share in points.tolist()]
    scores = evaluator_for(task, evaluator)(variants)
    return SparsityCurve(points, scores.accuracy, scores.loss)
