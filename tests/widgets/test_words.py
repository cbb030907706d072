"""Numbers in sentences."""

import pytest

from coto_lab.widgets.words import compared, percent


@pytest.mark.parametrize(
    "share, digits, words",
    [(0.364, 0, "36%"), (-0.004, 0, "0%"), (-0.0004, 1, "0.0%"), (0.9556, 1, "95.6%"), (1, 0, "100%"), (-0.1, 0, "-10%")],
)
def test_percent(share, digits, words):
    assert percent(share, digits) == words


@pytest.mark.parametrize(
    "difference, words",
    [(3.46, "3.5 points more than it"), (-1.04, "1 point less than it"), (0.04, "as much as it"), (-0.04, "as much as it")],
)
def test_a_difference_that_rounds_to_0_is_none(difference, words):
    assert compared(difference, "it") == words
