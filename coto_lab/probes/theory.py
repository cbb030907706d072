"""Two theorems about dropped blocks, examined numerically: Jensen's inequality, and dropout stability against barriers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from coto_lab.ground.numbers import MAX_SEED, whole_number
from coto_lab.probes.interpolation import interpolate
from coto_lab.probes.stability import masks_with
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.sources import Source, adapter_of
from coto_lab.scoring.variant import Variant
from coto_lab.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

_MOST_BLOCKS = 12  # 4096 masks


@dataclass(frozen=True, eq=False)
class JensenTable:
    """Both sides of Theorem 3.1 at the P activation probabilities, for a run with L blocks; all losses in nats.

    Attributes:
        p: activation probabilities, float64 ``[P]``.
        partial_loss: mean loss of the partial networks with j open blocks, float64 ``[L + 1]``.
        ensemble_loss: loss of the mean of their logits, float64 ``[L + 1]``.
    """

    p: Float[Tensor, " P"]
    partial_loss: Float[Tensor, " L_plus_1"]
    ensemble_loss: Float[Tensor, " L_plus_1"]

    @property
    def weights(self) -> Float[Tensor, "P L_plus_1"]:
        """C(L, j) p^j (1 - p)^(L - j), the probability that j blocks are open: float64 ``[P, L + 1]``."""
        n_blocks = len(self.partial_loss) - 1
        j = torch.arange(n_blocks + 1)
        ways = torch.tensor([math.comb(n_blocks, k) for k in range(n_blocks + 1)], dtype=torch.float64)
        p = self.p[:, None]
        return ways * p**j * (1 - p) ** (n_blocks - j)

    @property
    def expected_loss(self) -> Float[Tensor, " P"]:
        """The left side: the loss that one draw of the gates has on average, float64 ``[P]``."""
        return self.weights @ self.partial_loss

    @property
    def mean_prediction_loss(self) -> Float[Tensor, " P"]:
        """The right side: the losses of the mean predictions, weighted, float64 ``[P]``."""
        return self.weights @ self.ensemble_loss

    @property
    def gap(self) -> Float[Tensor, " P"]:
        """Left side minus right side, never below 0 but for rounding: float64 ``[P]``."""
        return self.weights @ (self.partial_loss - self.ensemble_loss)

    @property
    def whole_loss(self) -> float:
        """Loss of the whole adapter, all blocks open: what both sides are at p = 1."""
        return self.partial_loss[-1].item()

    def frame(self) -> pd.DataFrame:
        """One row per p: p, expected_loss, mean_prediction_loss, gap, whole_loss."""
        import pandas as pd

        names = ("p", "expected_loss", "mean_prediction_loss", "gap")
        return pd.DataFrame({name: getattr(self, name).numpy() for name in names} | {"whole_loss": self.whole_loss})


def jensen(task: Task, run: Source, ps: int | Sequence[float] = 21, evaluator: Evaluator | None = None) -> JensenTable:
    """Both sides of the paper's Theorem 3.1 on the task's test set, exactly, from all 2^L masks.

    With gates δ ~ Bernoulli(p)^L and a loss that is convex in the prediction f::

        E[loss(f_δ)]  >=  Σ_j C(L, j) p^j (1 - p)^(L - j) · loss(mean of f_δ over the masks with j open blocks)

    Here f is the logits, in which cross-entropy is convex: a log-sum-exp minus a linear function.

    What it says: the loss that CoTo samples in training lies above that of a weighted mixture of ensembles of partial
    networks; pushing the former down pushes down an upper bound of the latter. What it does not say: that training with
    gates makes anything better. This is Jensen's inequality within each group of masks: it holds for any adapter, trained
    by CoTo or not, at any p, and on any data. It compares *predictions* that are averaged; the loss is not convex in the
    *weights*, so nothing follows for averaged weights (merging, barriers), nor for the whole adapter, which is one network
    and no ensemble. A small gap is no merit either: partial networks that all predict the same have gap 0, good or bad.

    `CoTo` opens at least one block at every step, so at small p the gates of a real training are not quite the theorem's.

    Args:
        task: the task that the run was trained on.
        run: the run or adapter, or its folder; its L blocks are at most 12.
        ps: how many evenly spaced activation probabilities from 0 to 1 (at least 2), or the probabilities themselves.
        evaluator: one to reuse.

    Raises:
        ValueError: a run of another task or base; more than 12 blocks; a probability outside [0, 1].

    Source: arXiv:2506.05713, theorem 3.1.
    """
    p = _check_probabilities(ps)
    adapter = adapter_of(task, run, "run")
    evaluator = evaluator or Evaluator(task)
    n_blocks = len(evaluator.sites(adapter).block_names)
    if n_blocks > _MOST_BLOCKS:
        raise ValueError(
            f"run has adapters on {n_blocks} blocks, so 2^{n_blocks} masks; at most {_MOST_BLOCKS} blocks are enumerated. Use "
            "stability(), which samples masks, or train a run with fewer adapted blocks (Task.target_modules)."
        )
    masks = torch.tensor(list(product((False, True), repeat=n_blocks)))
    scores = evaluator([Variant(adapter, mask) for mask in masks], outputs=True)
    opened, labels = masks.sum(1), scores.labels
    assert labels is not None  # scores with outputs have labels
    partial, ensemble = [], []
    for j in range(n_blocks + 1):
        logits = scores.logits[opened == j].double()  # one group at a time: 924 of 4096 masks at most
        partial.append(_cross_entropy(logits, labels))
        ensemble.append(_cross_entropy(logits.mean(0, keepdim=True), labels))
    return JensenTable(p, torch.stack(partial), torch.stack(ensemble))


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over masks and examples, in nats: a scalar from ``[m, N, classes]`` and ``[N]``."""
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)))


def _check_probabilities(ps: int | Sequence[float]) -> Tensor:
    if isinstance(ps, Real):
        return torch.linspace(0, 1, whole_number("ps", ps, 2), dtype=torch.float64)
    p = torch.as_tensor(ps, dtype=torch.float64)
    if not len(p) or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"ps={p.tolist()}: must be probabilities, each in [0, 1]; or give their number.")
    return p


@dataclass(frozen=True, eq=False)
class BarrierBound:
    """Loss change under dropped blocks, and barriers, for the P pairs of some runs; all in nats.

    Attributes:
        pairs: indices of the two runs, int64 ``[P, 2]``.
        mean_change: by how much the loss rises when half of the blocks are dropped, mean over the masks of both runs,
            float64 ``[P]``.
        worst_change: the same for the worst mask of either run, float64 ``[P]``.
        barriers: ``"fuse"`` and ``"ensemble"`` -> `Curve.barrier` of every pair, float64 ``[P]``.
    """

    pairs: Int64[Tensor, "P 2"]
    mean_change: Float[Tensor, " P"]
    worst_change: Float[Tensor, " P"]
    barriers: dict[str, Float[Tensor, " P"]]

    def within(self, how: str) -> Bool[Tensor, " P"]:
        """Whether each pair's barrier is at most its worst change: ``BoolTensor [P]``."""
        return self.barriers[how] <= self.worst_change

    def frame(self) -> pd.DataFrame:
        """One row per pair: run_a, run_b, mean_change, worst_change, and for each mixture barrier_* and within_*."""
        import pandas as pd

        columns = {"run_a": self.pairs[:, 0], "run_b": self.pairs[:, 1]}
        columns |= {"mean_change": self.mean_change, "worst_change": self.worst_change}
        for how, barrier in self.barriers.items():
            columns |= {f"barrier_{how}": barrier, f"within_{how}": self.within(how)}
        return pd.DataFrame({name: values.numpy() for name, values in columns.items()})


def barrier_bound(
    task: Task,
    runs: Sequence[Source],
    alphas: int | Sequence[float] = 11,
    how: Sequence[str] = ("fuse", "ensemble"),
    samples: int = 924,
    seed: int = 0,
    evaluator: Evaluator | None = None,
) -> BarrierBound:
    """Is the barrier between two runs at most what either loses when half of its blocks are dropped?

    The paper claims that layer-wise dropout stability implies linear mode connectivity: a bound on the barrier by the loss
    change under dropped blocks. The idea goes back to Kuditipudi et al.: two networks that both keep a low loss without
    half of their units are joined by a path of several segments. The path drops parts of one network and takes in parts of
    the other, and on it the loss never exceeds that of the worst dropped network.

    **This is our own reading.** The paper's bound has constants that we do not have, so nothing here proves or refutes it.
    We only look whether the measured quantities are ordered as it says, pair by pair. Three things differ from
    the theorem of Kuditipudi et al.: we drop whole blocks and rescale nothing; they need *one* good half and we take the
    mean and the worst over all; and our line is straight, theirs is not. A barrier below a worst change that is large
    says little; look also whether the pairs with the smaller change have the smaller barrier.

    Args:
        task: the task that the runs were trained on.
        runs: at least two, of one base model and the same modules.
        alphas: points on each line, as in `interpolate`.
        how: the mixtures to measure, ``"fuse"``, ``"ensemble"`` (LoRA only) or both.
        samples: the most masks for a run; all C(L, L // 2) are taken where there are no more, so up to L = 12 by default.
        seed: decides which masks are drawn where there are more.
        evaluator: one to reuse.

    Raises:
        ValueError: fewer than two runs, or what `interpolate` refuses; runs on one block; ``samples`` below 1.

    Source: arXiv:2506.05713, dropout stability and linear mode connectivity; Kuditipudi et al. 2019 (arXiv:1906.06247),
    theorem 1.
    """
    samples = whole_number("samples", samples, 1)
    rng = np.random.default_rng(whole_number("seed", seed, 0, MAX_SEED))
    if len(runs) < 2:
        raise ValueError(f"runs holds {len(runs)}: a barrier lies between two runs, give at least 2.")
    adapters = [adapter_of(task, run, f"runs[{i}]") for i, run in enumerate(runs)]
    evaluator = evaluator or Evaluator(task)
    n_blocks = len(evaluator.sites(adapters[0]).block_names)
    if n_blocks < 2:
        raise ValueError("runs have adapters on one block only: there is no half to drop. Adapt at least 2 blocks.")
    pairs = list(combinations(range(len(runs)), 2))
    barriers = {}
    for mixture in how:
        curves = [interpolate(task, adapters[a], adapters[b], alphas, mixture, evaluator) for a, b in pairs]
        barriers[mixture] = torch.tensor([curve.barrier for curve in curves], dtype=torch.float64)
    masks = masks_with(n_blocks, n_blocks - n_blocks // 2, samples, rng)
    variants = [Variant(adapter, mask) for adapter in adapters for mask in (None, *masks)]
    loss = evaluator(variants).loss.reshape(len(runs), 1 + len(masks))
    change = loss[:, 1:] - loss[:, :1]
    index = torch.tensor(pairs)
    return BarrierBound(index, change.mean(1)[index].mean(1), change.amax(1)[index].amax(1), barriers)
