"""A check prints what is wrong, praises what is right, and calls an empty answer no mistake."""

from __future__ import annotations

import pytest

from coto_lab.exercises._exercise import EMPTY, exercise


@exercise("right")
def check_double(function, at: int = 2) -> list[str]:
    """Whether a function doubles."""
    return [] if function(at) == 2 * at else [f"my_double({at}) is {function(at)}", "it should be twice that"]


def empty(x: int) -> int:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("answer", "printed"),
    [
        (lambda x: 2 * x, "✓ right"),
        (lambda x: x, "✗ my_double(2) is 2\n✗ it should be twice that"),
        (..., EMPTY),
        (empty, EMPTY),
    ],
)
def test_what_is_printed(capsys: pytest.CaptureFixture[str], answer: object, printed: str) -> None:
    assert check_double(answer) is None
    assert capsys.readouterr().out == printed + "\n"


def test_settings_are_handed_on(capsys: pytest.CaptureFixture[str]) -> None:
    check_double(lambda x: x, at=0)
    assert capsys.readouterr().out == "✓ right\n"


def test_an_error_in_the_answer_is_shown_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        check_double(lambda x: x / 0)
