"""Numerical checks of two theorems about dropped blocks: Jensen's inequality, and dropout stability against barriers."""

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
from coto_lab.scoring.evaluator import Evaluator, evaluator_for
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
        """The left side: the mean loss over random draws of the gates, float64 ``[P]``."""
        return self.weights @ self.partial_loss

    @property
    def mean_prediction_loss(self) -> Float[Tensor, " P"]:
        """The right side: the weighted sum of the losses of the mean predictions, float64 ``[P]``."""
        return self.weights @ self.ensemble_loss

    @property
    def gap(self) -> Float[Tensor, " P"]:
        """Left side minus right side, float64 ``[P]``; it is never below 0, except for rounding."""
        return self.weights @ (self.partial_loss - self.ensemble_loss)

    @property
    def whole_loss(self) -> float:
        """Loss of the whole adapter, with all blocks open; both sides have this value at p = 1."""
        return self.partial_loss[-1].item()

    def frame(self) -> pd.DataFrame:
        """One row per p: p, expected_loss, mean_prediction_loss, gap, whole_loss."""
        import pandas as pd

        names = ("p", "expected_loss", "mean_prediction_loss", "gap")
        return pd.DataFrame({name: getattr(self, name).numpy() for name in names} | {"whole_loss": self.whole_loss})


def jensen(task: Task, run: Source, ps: int | Sequence[float] = 21, evaluator: Evaluator | None = None) -> JensenTable:
    """Both sides of the paper's Theorem 3.1 on the task's test set, computed exactly from all 2^L masks.

    With gates δ ~ Bernoulli(p)^L and a loss that is convex in the prediction f::

        E[loss(f_δ)]  >=  Σ_j C(L, j) p^j (1 - p)^(L - j) · loss(mean of f_δ over the masks with j open blocks)

    Here f is the logits. Cross-entropy is convex in the logits: it is a log-sum-exp minus a linear function.

    The theorem says that the loss that CoTo samples in training is an upper bound on the loss of a weighted mixture of
    ensembles of partial networks. Training lowers this upper bound.

    The theorem does not say that training with gates makes anything better. It is Jensen's inequality within each group of
    masks, and it holds for any adapter, trained by CoTo or not, at any p, and on any data. It is about averaged *predictions*.
    The loss is not convex in the *weights*, so nothing follows for averaged weights (merging, barriers). Nothing follows for
    the whole adapter either, which is one network and not an ensemble. Nor is a small gap a sign of quality: if all partial
    networks predict the same, the gap is 0, whether the predictions are good or bad.

    `CoTo` opens at least one block at every step, so at small p the gates of a real training differ slightly from the
    theorem's.

    Args:
        task: the task that the run was trained on.
        run: the run or adapter, or its folder; it has at most L = 12 blocks.
        ps: the number of evenly spaced activation probabilities from 0 to 1 (at least 2), or the probabilities themselves.
        evaluator: an evaluator to reuse.

    Raises:
        ValueError: the task has no classes; the run is of another task or base, or has more than 12 blocks; a probability is
            outside [0, 1].

    Source: arXiv:2506.05713, theorem 3.1.
    """
    p = _check_probabilities(ps)
    adapter = adapter_of(task, run, "run")
    evaluator = evaluator_for(task, evaluator)
    if not task.classes:
        raise ValueError(
            f"task {task.name!r} has no classes, so there are no class logits to average: give a task with classes."
        )
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
    """Mean cross-entropy over masks and examples, in nats: a scalar from ``[m, N, classes]`` and ``[N]``."""
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
        mean_change: the rise of the loss when half of the blocks are dropped, as the mean over the masks of both runs,
            float64 ``[P]``.
        worst_change: the rise of the loss for the worst mask of either run, float64 ``[P]``.
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
    """Compare the barrier between two runs with the rise of their loss when half of their blocks are dropped.

    The paper claims that layer-wise dropout stability implies linear mode connectivity: the loss change under dropped blocks
    bounds the barrier. The idea is from Kuditipudi et al.: if two networks both keep a low loss without half of their units,
    a path of several segments connects the two. The path drops parts of one network and adds parts of the other, and the loss
    on the path never exceeds the loss of the worst dropped network.

    **This is our own reading.** The paper's bound has constants that we do not have, so nothing here proves or refutes the
    bound. We only check, pair by pair, whether the measured quantities are ordered as the bound says. Three things differ from
    the theorem of Kuditipudi et al. We drop whole blocks and rescale nothing. Their theorem needs *one* good half, and we take
    the mean and the worst over all halves. Our line is straight, and their path is not. If the worst change is large, a
    barrier below it means little; so also check whether pairs with a smaller change have a smaller barrier.

    Args:
        task: the task that the runs were trained on.
        runs: at least two runs of one base model, with adapters on the same modules.
        alphas: points on each line, as in `interpolate`.
        how: the mixtures to measure, ``"fuse"``, ``"ensemble"`` (LoRA only) or both.
        samples: the largest number of masks for a run. All C(L, L // 2) masks are taken if there are not more, which is the
            case up to L = 12 by default.
        seed: decides which masks are drawn if there are more.
        evaluator: an evaluator to reuse.

    Raises:
        ValueError: there are fewer than two runs, the runs have adapters on only one block, ``samples`` is below 1, or
            `interpolate` raises it.

    Source: arXiv:2506.05713, dropout stability and linear mode connectivity; Kuditipudi et al. 2019 (arXiv:1906.06247),
    theorem 1.
    """
    samples = whole_number("samples", samples, 1)
    rng = np.random.default_rng(whole_number("seed", seed, 0, MAX_SEED))
    if len(runs) < 2:
        raise ValueError(f"runs holds {len(runs)}: a barrier lies between two runs, so give at least 2.")
    adapters = [adapter_of(task, run, f"runs[{i}]") for i, run in enumerate(runs)]
    evaluator = evaluator_for(task, evaluator)
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
