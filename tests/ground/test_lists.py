from __future__ import annotations

from pathlib import Path

import pytest

from coto_lab.ground.lists import list_of


def test_whatever_can_be_iterated_over_becomes_a_list() -> None:
    for items in ([1, 2], (1, 2), range(1, 3), iter([1, 2]), {1: "a", 2: "b"}.keys()):
        assert list_of("numbers", items, int, "give numbers.") == [1, 2]
    assert list_of("things", [1, "a"], (int, str), "give things.") == [1, "a"]


@pytest.mark.parametrize("items", [None, 3, "ab", b"ab", {"a": 1}, Path("folder")])
def test_what_is_no_list_is_refused(items: object) -> None:
    with pytest.raises(TypeError, match=rf"numbers is a {type(items).__name__}: give a list of numbers\."):
        list_of("numbers", items, int, "give a list of numbers.")


def test_an_item_of_another_kind_is_named_by_its_place() -> None:
    with pytest.raises(TypeError, match=r"numbers\[1\] is a str: give a list of numbers\."):
        list_of("numbers", [1, "two"], int, "give a list of numbers.")


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ValueError, match="numbers is empty: give at least one"):
        list_of("numbers", (), int, "give a list of numbers.")
