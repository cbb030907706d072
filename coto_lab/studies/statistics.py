"""The comparison of two methods over the same seeds: a difference, its interval, and the verdict about a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coto_lab.ground.numbers import finite_number

if TYPE_CHECKING:
    import pandas as pd

HOLDS, FAILS, OPEN = "holds", "does not hold", "inconclusive"
CLAIMS = ("above", "below", "not below", "same")


@dataclass(frozen=True)
class Difference:
    """The mean of a - b over the seeds, and its confidence interval.

    Attributes:
        mean: the mean of a - b, in the unit of a and b.
        low, high: ends of the interval.
        n: the number of seeds.
        level: how often such intervals contain the true mean, e.g. 0.95, if the differences are normally distributed.
    """

    mean: float
    low: float
    high: float
    n: int
    level: float = 0.95

    def verdict(self, claim: str, margin: float = 0.0) -> str:
        """The verdict about a claim, from the interval: ``"holds"``, ``"does not hold"`` or ``"inconclusive"``.

        ======================  ================================  ===================================
        the claim: a is ... b   it holds if the interval          otherwise, it does not hold if the
                                                                  interval
        ======================  ================================  ===================================
        ``"above"``             lies above 0                      lies below 0
        ``"below"``             lies below 0                      lies above 0
        ``"not below"``         lies above -margin                lies below 0
        ``"same"``              lies between -margin and margin   excludes 0
        ======================  ================================  ===================================

        In all other cases the claim is inconclusive.

        Args:
            claim: one of the four claims.
            margin: the smallest difference that matters; above 0 for the last two claims, and 0 for the first two.

        Raises:
            ValueError: ``claim`` is unknown, or ``margin`` does not fit the claim.

        Source: superiority, non-inferiority and equivalence are judged by an interval as in clinical trials (Piaggio et al.
        2012, doi:10.1001/jama.2012.87802).
        """
        margin = finite_number("margin", margin)
        if claim not in CLAIMS:
            raise ValueError(f"claim={claim!r}: must be one of {', '.join(map(repr, CLAIMS))}.")
        if (margin > 0) != (claim in ("not below", "same")) or margin < 0:
            raise ValueError(
                f"margin={margin}: must be above 0 for 'not below' and 'same', and 0 for 'above' and 'below'; got {claim!r}."
            )
        above, below = self.low > 0, self.high < 0
        holds, fails = {
            "above": (above, below),
            "below": (below, above),
            "not below": (self.low > -margin, below),
            "same": (-margin < self.low and self.high < margin, above or below),
        }[claim]
        return HOLDS if holds else FAILS if fails else OPEN

    def frame(self) -> pd.DataFrame:
        """One row: mean, low, high, n."""
        import pandas as pd

        return pd.DataFrame({"mean": [self.mean], "low": [self.low], "high": [self.high], "n": [self.n]})


def paired_difference(
    a: Sequence[float], b: Sequence[float], seeds: Sequence[Sequence[int]] | None = None, level: float = 0.95
) -> Difference:
    """The mean of a - b with Student's t interval over the seeds, with n - 1 degrees of freedom.

    Pairing removes the effects of a seed that both methods share: the order of the data and the initialisation.

    If a value belongs to several seeds, such as the accuracy of a fusion of two runs, values that share a seed are not
    independent: ten pairs of five seeds are not ten observations. So the standard error comes from the jackknife, which leaves
    out one seed at a time, with all values of this seed. With one seed per value this is the usual standard error, s / √n. For
    means over pairs or triples it tends to be too large: on average, its square is at least the variance.

    Args:
        a, b: values of the two methods, in the same order.
        seeds: the seeds that belong to each value; by default, each value has a seed of its own.
        level: level of the interval.

    Raises:
        ValueError: ``a`` and ``b`` have different lengths or are not finite; there are fewer than two seeds; a seed belongs to
            all values; ``level`` is outside (0, 1).

    Source: Student's paired t test (``scipy.stats.ttest_rel``); jackknife: Arvesen 1969, Efron and Stein 1981.
    """
    from scipy.stats import t

    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float) if len(a) == len(b) else np.array([math.nan])
    if not np.isfinite(differences).all():
        raise ValueError(f"a has {len(a)} values and b {len(b)}: give equally many values, all finite.")
    groups = [(i,) for i in range(len(differences))] if seeds is None else [tuple(group) for group in seeds]
    if len(groups) != len(differences):
        raise ValueError(f"seeds has {len(groups)} entries for {len(differences)} values: give the seeds of each value.")
    if not 0 < finite_number("level", level) < 1:
        raise ValueError(f"level={level!r}: must be in (0, 1), such as 0.95.")
    everyone = sorted({seed for group in groups for seed in group})
    n = len(everyone)
    without = [np.array([seed not in group for group in groups]) for seed in everyone]
    if n < 2 or not all(left.any() for left in without):
        raise ValueError(f"seeds={groups}: at least two seeds are needed, and no seed may belong to every value.")
    left_out = np.array([differences[left].mean() for left in without])
    error = math.sqrt((n - 1) / n * np.square(left_out - left_out.mean()).sum())
    mean, half = differences.mean().item(), t.ppf((1 + level) / 2, n - 1).item() * error
    return Difference(mean, mean - half, mean + half, n, level)
