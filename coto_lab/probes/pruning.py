"""Structured pruning: what is left of a run when only some of its adapters are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from coto_lab.gating.gates import Gates
from coto_lab.scoring.evaluator import Evaluator, evaluator_for
from coto_lab.scoring.sites import Sites, module_mask
from coto_lab.scoring.sources import Source, adapter_of
from coto_lab.scoring.variant import Variant
from coto_lab.tasks import Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class PruningTable:
    """Scores of the P patterns.

    Attributes:
        patterns: their names.
        kept: share of the adapted modules that are kept, float64 ``[P]``.
        accuracy: share of right answers on the test set, float64 ``[P]``.
        loss: mean cross-entropy in nats, float64 ``[P]``.
    """

    patterns: tuple[str, ...]
    kept: Float[Tensor, " P"]
    accuracy: Float[Tensor, " P"]
    loss: Float[Tensor, " P"]

    def frame(self) -> pd.DataFrame:
        """One row per pattern: pattern, kept, accuracy, loss."""
        import pandas as pd

        columns = {name: getattr(self, name).numpy() for name in ("kept", "accuracy", "loss")}
        return pd.DataFrame({"pattern": self.patterns, **columns})


def paper_patterns(sites: Sites | Gates) -> dict[str, Bool[Tensor, " {len(sites)}"]]:
    """The paper's patterns over the modules of a model: name -> ``BoolTensor [n_modules]``, True = kept.

    All; every other block (the first, the third, ...); the low, middle and high third of the blocks (one left over goes to
    the middle, two to the ends); only the modules of one kind (query, key, value, ...); and none, which is the base model. An
    adapter with new layers that were trained whole, such as a head (``modules_to_save``), keeps them in every pattern: then
    none is the base model with the trained head.

    Args:
        sites: the adapted modules: ``evaluator.sites(adapter)``, or ``attach_gates(model, by="module")``.

    Source: arXiv:2506.05713, structured pruning.
    """
    blocks = list(dict.fromkeys(sites.blocks))
    depth = torch.tensor([blocks.index(block) for block in sites.blocks])
    n = len(blocks)
    low = (n + 1) // 3
    kinds = [name.rsplit(".", 1)[-1] for name in sites.names]
    return {
        "all": torch.ones(len(sites), dtype=torch.bool),
        "every other": depth % 2 == 0,
        "low third": depth < low,
        "middle third": (depth >= low) & (depth < n - low),
        "high third": depth >= n - low,
        **{f"only {kind}": torch.tensor([other == kind for other in kinds]) for kind in dict.fromkeys(kinds)},
        "none": torch.zeros(len(sites), dtype=torch.bool),
    }


def prune(
    task: Task,
    run: Source,
    patterns: Mapping[str, Bool[Tensor, " gates"]] | None = None,
    evaluator: Evaluator | None = None,
) -> PruningTable:
    """Score a run on the task's test set with only some of its adapters kept.

    Args:
        task: the task that the run was trained on.
        run: the run or adapter, or its folder.
        patterns: name -> what is kept, over blocks (``BoolTensor [n_blocks]``) or modules (``[n_modules]``); by default the
            paper's (`paper_patterns`).
        evaluator: one to reuse.

    Raises:
        TypeError: ``patterns`` is no mapping, or ``run`` no run, adapter or folder.
        ValueError: a run of another task or base; no patterns; a mask of another type or length, whose pattern is named;
            an adapter without parts that could be left out.

    Source: arXiv:2506.05713, structured pruning.
    """
    adapter = adapter_of(task, run, "run")
    if patterns is not None and not isinstance(patterns, Mapping):
        raise TypeError(f"patterns is a {type(patterns).__name__}: give a dict of masks, {{name: BoolTensor}}.")
    if patterns is not None and not patterns:
        raise ValueError("patterns is empty: give at least one, or None for those of the paper.")
    evaluator = evaluator_for(task, evaluator)
    sites = evaluator.sites(adapter)
    chosen = paper_patterns(sites) if patterns is None else patterns
    masks = {name: module_mask(sites, mask, f"patterns[{name!r}]") for name, mask in chosen.items()}
    scores = evaluator([Variant(adapter, mask, name) for name, mask in masks.items()])
    kept = torch.stack([mask.double().mean() for mask in masks.values()])
    return PruningTable(scores.names, kept, scores.accuracy, scores.loss)
