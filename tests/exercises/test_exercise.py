"""A check prints what is wrong, praises what is right, and calls an empty answer no mistake."""

from __future__ import annotations

import pytest
import torch

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


@exercise("both", answers=2)
def check_pair(one: object, two: object, at: int = 0) -> list[str]:
    """Never complains."""
    return []


@pytest.mark.parametrize(
    ("answers", "printed"),
    [((..., ...), EMPTY), ((1, ...), "✗ two is still empty"), ((..., 1), "✗ one is still empty"), ((1, 1), "✓ both")],
)
def test_one_of_two_answers_is_not_nothing(capsys: pytest.CaptureFixture[str], answers: tuple, printed: str) -> None:
    check_pair(*answers)
    assert capsys.readouterr().out == printed + "\n"


class Layer:
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[7]


@exercise("right")
def check_layer(make: type[Layer]) -> list[str]:
    """Calls a method of the answer."""
    return [str(make().forward(torch.zeros(3)))]


def test_an_error_of_the_answer_becomes_a_sentence_that_names_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    check_double(lambda x: x / 0)
    assert "✗ <lambda>(x: 2) raises ZeroDivisionError in line " in capsys.readouterr().out
    check_layer(Layer)
    printed = capsys.readouterr().out
    assert printed.startswith("✗ Layer.forward(x: tensor [3]) raises IndexError in line ")
    assert printed.endswith("out of bounds for dimension 0 with size 3. It should work for these arguments too\n")


def test_an_error_of_the_check_itself_is_raised() -> None:
    with pytest.raises(TypeError):
        check_double(abs, at="two")
