from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from coto_lab.studies.statistics import Difference, paired_difference

A = [93.1, 92.4, 94.0, 93.3, 92.0]
B = [92.0, 92.6, 93.1, 91.9, 91.7]
PAIRS = list(combinations(range(5), 2))


def test_by_hand() -> None:
    found = paired_difference([3, 5, 7], [1, 2, 3])  # differences 2, 3, 4: s = 1, standard error 1 / √3; t(0.975, 2) = 4.302653
    half = 4.302653 / math.sqrt(3)
    assert (found.mean, found.low, found.high) == pytest.approx((3, 3 - half, 3 + half), abs=1e-6)
    assert (found.n, found.level) == (3, 0.95)
    assert found.frame().iloc[0].to_dict() == {"mean": 3, "low": found.low, "high": found.high, "n": 3}


def test_two_seeds_are_enough() -> None:
    found = paired_difference([2, 5], [1, 2])  # differences 1 and 3: s = √2, standard error 1; t(0.975, 1) = 12.706205
    assert (found.mean, found.low, found.high) == pytest.approx((2, 2 - 12.706205, 2 + 12.706205), abs=1e-5)


def test_a_difference_is_a_frozen_value_of_95_per_cent_with_no_margin() -> None:
    found = Difference(1.0, 0.5, 1.5, 5)
    assert found.level == 0.95 and found.verdict("above") == "holds"
    assert {found, Difference(1.0, 0.5, 1.5, 5, 0.95)} == {found}


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_one_seed_per_value_is_the_paired_t_interval(level: float) -> None:
    found = paired_difference(A, B, level=level)
    expected = ttest_rel(A, B).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found == paired_difference(A, B, seeds=[[7], [1], [3], [0], [2]], level=level)


def test_pairs_that_are_sums_over_their_seeds_say_as_much_as_the_seeds() -> None:
    # If a pair's value is the mean of its two seeds' values, then ten pairs hold what five seeds do, and no more.
    of_pairs = [[(values[i] + values[j]) / 2 for i, j in PAIRS] for values in (A, B)]
    found, expected = paired_difference(*of_pairs, seeds=PAIRS), paired_difference(A, B)
    assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))
    naive = paired_difference(*of_pairs)
    assert naive.high - naive.low < 0.6 * (found.high - found.low)  # ten pairs taken for ten observations


def test_jackknife_by_hand() -> None:
    pairs = [(0, 1), (0, 2), (1, 2)]  # without seed 0 the last is left, without 1 the middle one, without 2 the first: 8, 4, 3
    found = paired_difference([3, 4, 8], [0, 0, 0], seeds=pairs)
    error = math.sqrt(2 / 3 * (9 + 1 + 4))  # their mean is 5
    assert found.mean == pytest.approx(5) and found.n == 3
    assert found.high - found.mean == pytest.approx(4.302653 * error, abs=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_intervals_hold_the_truth_as_often_as_they_say(size: int) -> None:
    """Values of groups of seeds, with an interaction of the seeds and noise of their own; the true mean is 0."""
    rng = np.random.default_rng(0)
    groups = list(combinations(range(5), size))
    held = 0
    for _ in range(1000):
        own = rng.normal(size=5)
        values = [own[list(group)].mean() + 0.3 * own[list(group)].prod() * (size > 1) + 0.2 * rng.normal() for group in groups]
        found = paired_difference(values, [0.0] * len(groups), seeds=groups)
        held += found.low < 0 < found.high
    assert held / 1000 > 0.93  # three standard deviations of the count below 0.95


@pytest.mark.parametrize(
    "claim, margin, low, high, verdict",
    [
        ("above", 0, 0.1, 2, "holds"),
        ("above", 0, -0.1, 2, "inconclusive"),
        ("above", 0, -2, -0.1, "does not hold"),
        ("below", 0, -2, -0.1, "holds"),
        ("below", 0, -2, 0.1, "inconclusive"),
        ("below", 0, 0.1, 2, "does not hold"),
        ("not below", 1, -0.9, 0.5, "holds"),
        ("not below", 1, -0.9, -0.1, "holds"),
        ("not below", 1, -1.1, 0.5, "inconclusive"),
        ("not below", 1, -1.1, -0.1, "does not hold"),
        ("same", 1, -0.9, 0.9, "holds"),
        ("same", 1, 0.1, 0.9, "holds"),
        ("same", 1, -0.5, 1.1, "inconclusive"),
        ("same", 1, 0.1, 1.1, "does not hold"),
        ("same", 1, -1.1, -0.1, "does not hold"),
        ("above", 0, 0, 0, "inconclusive"),
        ("below", 0, 0, 0, "inconclusive"),
        ("not below", 1, -1, 0.5, "inconclusive"),  # an end on the margin is not beyond it
        ("same", 1, -1, 0.5, "inconclusive"),
        ("same", 1, -0.5, 1, "inconclusive"),
    ],
)
def test_verdicts(claim: str, margin: float, low: float, high: float, verdict: str) -> None:
    assert Difference((low + high) / 2, low, high, 5).verdict(claim, margin) == verdict


@pytest.mark.parametrize(
    "claim, margin, message",
    [
        ("better", 0, "claim='better': must be one of 'above', 'below'"),
        ("above", 1, r"margin=1\.0: .*got 'above'"),
        ("same", 0, r"margin=0\.0: must be above 0 for 'not below' and 'same'"),
        ("not below", -1, r"margin=-1\.0"),
    ],
)
def test_claims_that_are_refused(claim: str, margin: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Difference(0, -1, 1, 5).verdict(claim, margin)


@pytest.mark.parametrize(
    "a, b, seeds, level, message",
    [
        ([1, 2], [1], None, 0.95, "a has 2 values and b 1"),
        ([1, math.nan], [1, 2], None, 0.95, "all finite"),
        ([1], [2], None, 0.95, "at least two"),
        ([], [], None, 0.95, "at least two"),
        ([1, 2], [1, 2], [(0,)], 0.95, "seeds has 1 entries for 2 values"),
        ([1, 2], [1, 2], [(0, 1), (0, 2)], 0.95, "no seed may belong to every value"),
        ([1, 2], [1, 2], None, 95, "level=95"),
        ([1, 2], [1, 2], None, 0, "level=0: must be in"),
        ([1, 2], [1, 2], None, 1.0, r"level=1\.0: must be in"),
        ([1, 2], [1, 2], None, 1.5, r"level=1\.5: must be in"),
    ],
)
def test_values_that_are_refused(a: list[float], b: list[float], seeds: object, level: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_difference(a, b, seeds, level)  # type: ignore[arg-type]
