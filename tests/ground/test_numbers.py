from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from coto_lab.ground.numbers import MAX_SEED, finite_number, real_number, whole_number


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_become_int(value: object) -> None:
    assert type(whole_number("n", value, 0, 3)) is int and whole_number("n", value, 0, 3) == 3


@pytest.mark.parametrize("value", [1.5, 2.0, np.float32(2), True, np.True_, "2", None, 0, 4])
def test_what_is_no_whole_number_in_the_range_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^n=.*: must be a whole number, from 1 to 3\.$"):
        whole_number("n", value, 1, 3)


def test_without_an_upper_limit_only_the_lower_one_is_named() -> None:
    assert whole_number("n", 2**100, 1) == 2**100
    with pytest.raises(ValueError, match=r"^n=0: must be a whole number, at least 1\.$"):
        whole_number("n", 0, 1)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5), Fraction(1, 2)])
def test_real_numbers_become_float(value: object) -> None:
    assert type(real_number("x", value)) is float and real_number("x", value) == 0.5


@pytest.mark.parametrize("value", [True, np.True_, "0.5", None, 1j])
def test_what_is_no_real_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^x=.*: must be a number"):
        real_number("x", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -np.inf, None])
def test_what_is_not_finite_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^x=.*: must be a (finite )?number"):
        finite_number("x", value)
    assert type(finite_number("x", np.float32(2))) is float


def test_the_largest_seed_is_one_that_torch_takes() -> None:
    assert torch.Generator().manual_seed(MAX_SEED).initial_seed() == MAX_SEED
