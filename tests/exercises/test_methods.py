"""The checks find what readers do wrong, and let through what is right."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from coto_lab.exercises import methods

check_trained = methods.check_trained.__wrapped__  # what it finds, before it is printed
check_averaged = methods.check_averaged.__wrapped__


def trained(method: str, r: int, outputs: int, inputs: int) -> int:
    """What the notebook's solution does."""
    pair = r * (inputs + outputs)
    return {
        "lora": pair,
        "dora": pair + outputs,
        "loha": 2 * pair,
        "vera": outputs + r,
        "miss": r * outputs,
        "ia3": outputs,
    }[method]


def but(method: str, wrong: Callable[[int, int, int], object]) -> Callable[..., object]:
    return lambda name, r, outputs, inputs: (wrong if name == method else lambda *_: trained(name, r, outputs, inputs))(
        r, outputs, inputs
    )


def test_the_right_numbers_pass() -> None:
    assert check_trained(trained) == []


@pytest.mark.parametrize(
    ("method", "wrong", "said"),
    [
        ("lora", lambda r, o, i: r * o * i, "lora: 1728 for .* where PEFT trains 168: A and B are trained, not their product"),
        ("dora", lambda r, o, i: r * (i + o), "the magnitudes are trained, too"),
        ("loha", lambda r, o, i: r * (i + o), "four factors"),
        ("vera", lambda r, o, i: r * (i + o), "only the two vectors are trained"),
        ("vera", lambda r, o, i: i + r, "vera: 28 for a layer with 24 inputs and 18 outputs and r = 4, where PEFT trains 22$"),
        ("miss", lambda r, o, i: r * (i + o), "S only sums up inputs"),
        ("miss", lambda r, o, i: 18 * r, "miss: 54 for a layer with 12 inputs and 30 outputs and r = 3"),
        ("ia3", lambda r, o, i: i, "the outputs are scaled, not the inputs"),
        ("ia3", lambda r, o, i: "many", "ia3: return one number"),
    ],
)
def test_each_mistake_is_told(method: str, wrong: Callable[[int, int, int], object], said: str) -> None:
    (found,) = check_trained(but(method, wrong))
    assert re.search(said, found), found


def test_what_may_be_averaged() -> None:
    assert check_averaged({"miss", "ia3"}) == check_averaged(["ia3", "miss"]) == []
    assert check_averaged({"miss"}) == ["1 missing: in which formula does every trained number stand alone?"]
    assert check_averaged({"miss", "ia3", "vera"}) == [
        "vera: its ΔW is a product of trained parts, or a curved function of them"
    ]
    assert check_averaged({"mis", "ia3"})[0].startswith("'mis' is no method; the names are boft, dora,")
    assert check_averaged("miss") == ['give a set of names, such as {"lora", "vera"}']
