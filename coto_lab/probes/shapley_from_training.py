"""Owen's formula: an estimate of Shapley values from a training with CoTo, where each step is a coalition of blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Real
from torch import Tensor

from coto_lab.ground.numbers import whole_number
from coto_lab.probes.shapley import ShapleyValues
from coto_lab.training.history import History

if TYPE_CHECKING:
    import pandas as pd

_LEAST_RANGE = 0.5  # the least range of p from which an integral over [0, 1] is estimated


def owen_estimate(history: History, bins: int = 5) -> ShapleyValues:
    """Estimate Shapley values from the masks and batch losses that a CoTo training recorded; no model is run.

    Owen's formula: φ_i = ∫ c_i(p) dp over [0, 1], where c_i(p) is the expected marginal contribution of player i when every
    other player is present with probability p. A ramp from 0 to 1 passes through every p.

    The steps with p < 1 are divided into ``bins`` of equal width in p. In each bin, the loss is regressed by least squares on
    the mask, an intercept, and a linear trend in the step. The trend accounts for the falling loss and the rising p. For
    independent gates the slope of the loss on gate i is Cov(loss, m_i) / Var(m_i) = E[loss | i open] - E[loss | i dropped],
    because the other gates have the same distribution in both cases. This difference is -c_i(p). The mean over the bins
    approximates the integral.

    The result estimates each block's share in lowering the loss of the *training batches*, averaged over the *adapters of all
    those steps*. The result is not the Shapley values of the finished adapter on the test set; `agreement` measures how far
    the two differ. The sum of the estimates is too small, for two reasons. Early in the training, at small p, the adapter has
    learned little. And CoTo never drops all gates, so the change from no block to one block, often the largest, never occurs.
    With a tilt, where gates have different probabilities, the formula does not hold.

    Args:
        history: the history of a training whose p rises over at least half of [0, 1]; the covered range is taken for all of
            [0, 1].
        bins: the number of bins. More bins follow c_i(p) more closely, but each has fewer steps.

    Returns:
        Values in nats, with the standard errors of the regressions; ``v_empty`` and ``v_full`` are NaN.

    Raises:
        ValueError: p or the masks do not vary enough (plain LoRA, stochastic depth, a training stopped early), or a bin has
            too few steps for its regression.

    Source: Owen 1972, "Multilinear extensions of games"; arXiv:2506.05713, progressive activation as a cooperative game.
    """
    bins = whole_number("bins", bins, 1)
    moving = history.p < 1
    p, loss, mask = history.p[moving], history.loss[moving], history.mask[moving].double()
    covered = (p.max() - p.min()).item() if len(p) else 0.0
    if covered < _LEAST_RANGE or (mask == mask[0]).all():
        found = f"p from {p.min():.3g} to {p.max():.3g}" if len(p) else "p = 1, every gate open,"
        raise ValueError(
            f"history has {found} at all {len(p) or len(history)} steps that could be used: Owen's formula needs masks that "
            f"vary and a p that rises over at least {_LEAST_RANGE} of [0, 1]. Give the history of a whole training with a "
            "ramp, Recipe(schedule=Linear())."
        )
    step = torch.arange(len(history))[moving].double()
    bin_of_step = ((p - p.min()) / covered * bins).long().clamp(max=bins - 1)
    slopes, variances = [], []
    for index in range(bins):
        rows = bin_of_step == index
        trend = step[rows] - step[rows].mean() if rows.any() else step[rows]
        design = torch.column_stack([torch.ones(len(trend)).double(), trend, mask[rows]])
        steps, unknowns = design.shape
        if steps <= unknowns or torch.linalg.matrix_rank(design) < unknowns:
            raise ValueError(
                f"bins={bins}: bin {index} has {steps} steps, whose masks do not determine {unknowns} unknowns (one for "
                "each gate, and two). Use fewer bins, or a longer training."
            )
        inverse = torch.linalg.pinv(design)  # [unknowns, steps]
        fit = inverse @ loss[rows]
        noise = (loss[rows] - design @ fit).square().sum() / (steps - unknowns)
        slopes.append(fit[2:])
        variances.append(noise * inverse.square().sum(1)[2:])  # the diagonal of noise · (XᵀX)⁻¹
    error = torch.stack(variances).sum(0).sqrt() / bins
    return ShapleyValues(history.gates, -torch.stack(slopes).mean(0), "loss", "owen", math.nan, math.nan, error)


def expected_marginals(worths: Real[Tensor, " coalitions"], ps: Real[Tensor, " P"]) -> Float[Tensor, "n P"]:
    """The mean contribution of each of n players when every other player is present with probability p: float64 ``[n, P]``.

    This is the exact c_i(p) of Owen's formula; its mean over all p from 0 to 1 is the Shapley value φ_i.

    Args:
        worths: v(S) of all coalitions, ``[2^n]``; bit i of a coalition's index says whether player i is in.
        ps: the probabilities, ``[P]``.

    Raises:
        ValueError: ``worths`` is not a vector of 2^n numbers with n at least 1.

    Source: Owen 1972, "Multilinear extensions of games": c_i is the derivative of the extension with respect to p_i.
    """
    n = worths.numel().bit_length() - 1
    if worths.shape != (2**n,) or n < 1:
        raise ValueError(f"worths has shape {list(worths.shape)}: must be [2^n], all coalitions of n players.")
    p = ps.double()
    rows = []
    for i in range(n):
        without, with_i = worths.double().view(-1, 2, 2**i).unbind(1)  # the middle dimension is bit i
        gain = (with_i - without).reshape(1, -1).expand(len(p), -1)
        for _ in range(n - 1):  # each pass averages over one other player
            gain = (1 - p)[:, None] * gain[:, ::2] + p[:, None] * gain[:, 1::2]
        rows.append(gain[:, 0])
    return torch.stack(rows)


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far two attributions to the same players agree: 1 is full agreement, 0 is none, -1 is the opposite.

    Attributes:
        pearson: correlation of the values.
        spearman: correlation of their ranks.
    """

    pearson: float
    spearman: float

    def frame(self) -> pd.DataFrame:
        """One row: pearson, spearman."""
        import pandas as pd

        return pd.DataFrame({"pearson": [self.pearson], "spearman": [self.spearman]})


def agreement(a: ShapleyValues, b: ShapleyValues) -> Agreement:
    """Correlations over the players between two estimates, or an estimate and the exact values.

    With few players a correlation says little. It says even less if all players have nearly the same value, as with CoTo. So
    look at several seeds.

    Raises:
        ValueError: the players differ or are fewer than three, or all values of one attribution are the same.

    Source: ``scipy.stats.pearsonr`` and ``spearmanr``.
    """
    from scipy.stats import pearsonr, spearmanr

    if a.players != b.players or len(a.players) < 3:
        raise ValueError(f"a has the players {a.players} and b {b.players}: they must be the same, three or more.")
    for name, values in (("a", a.values), ("b", b.values)):
        if (values == values[0]).all():
            raise ValueError(f"{name} has the value {values[0]:.3g} for every player: there is nothing to correlate.")
    x, y = a.values.numpy(), b.values.numpy()
    return Agreement(float(pearsonr(x, y).statistic), float(spearmanr(x, y).statistic))
