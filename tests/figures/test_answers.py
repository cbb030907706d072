"""The model's answers in lines: what is marked, what is cut, and that columns stand below each other."""

from __future__ import annotations

import html
import re

import pytest

from coto_lab.figures.answers import answered_lines, marked
from coto_lab.figures.theme import INK, set_text_size
from coto_lab.figures.tiles import WRONG
from coto_lab.tasks import Example

TEXTS = [Example("dcba;", text=":abcd="), Example("321;", text=":123=")]


def bad(text: str) -> str:
    """A wrong part, which has two cues besides its colour."""
    return f'<span style="color:{WRONG}"><b><u>{text}</u></b></span>'


def plain(line: str) -> str:
    """What a reader sees, without the looks."""
    return html.unescape(re.sub(r"<[^>]*>", "", line))


@pytest.mark.parametrize(
    ("said", "right", "shown"),
    [
        ("abcd", "abcd", "abcd"),
        ("abxd", "abcd", f"ab{bad('x')}d"),
        ("xbyz", "abcd", f"{bad('x')}b{bad('yz')}"),
        ("ab", "abcd", f"ab{bad('··')}"),
        ("abcd", "ab", f"ab{bad('cd')}"),
        ("", "ab", bad("··")),
        ("", "", ""),
        ("a b", "axb", f"a{bad(' ')}b"),
        ("a\nb", "a\nb", "a b"),
        ("<&a", "<>a", f"&lt;{bad('&amp;')}a"),
        ("文x", "文字", f"文{bad('x')}"),
    ],
)
def test_each_character_that_is_not_the_right_one_at_its_place_is_marked(said: str, right: str, shown: str) -> None:
    assert marked(said, right, 8).rstrip(" ") == shown
    assert len(plain(marked(said, right, 8))) == 8 - ("文" in said), "spaces fill the column"


@pytest.mark.parametrize(
    ("said", "shown"),
    [("abcdefgh", "abc…"), ("abcdefgx", f"abc{bad('…')}"), ("abxdefgh", f"ab{bad('x')}…"), ("abcdef", f"abc{bad('…')}")],
)
def test_of_an_answer_that_is_cut_the_ellipsis_tells_whether_the_rest_is_wrong(said: str, shown: str) -> None:
    assert marked(said, "abcdefgh", 4) == shown


def test_a_right_answer_stands_alone_and_a_wrong_one_is_followed_by_the_right_one() -> None:
    assert answered_lines("✓✗", TEXTS, ["dcba;", "331;"]) == [
        "✓  :abcd= → dcba;",
        f'<span style="color:{WRONG}">✗</span>  :123=  → 3{bad("3")}1;  <span style="color:{INK}">(321;)</span>',
    ]
    assert answered_lines([], [], []) == []


def test_columns_stand_below_each_other_and_fit() -> None:
    examples = [Example("x" * n, text="question " * n) for n in range(1, 9)]
    lines = [plain(line) for line in answered_lines(["✓→✗"] * 8, examples, ["y" * (9 - n) for n in range(1, 9)])]
    assert {line.index("→", 4) for line in lines} == {lines[0].index("→", 4)}
    assert {line.index("(") for line in lines} == {lines[0].index("(")}
    assert max(map(len, lines)) <= 36 and lines[-1].endswith("(xxxxxxxx)")


@pytest.fixture
def large() -> object:
    set_text_size("large")
    yield
    set_text_size("normal")


def test_with_large_letters_right_answers_are_left_to_the_box_under_the_pointer(large: None) -> None:
    first, second = map(plain, answered_lines("✗✗", [Example("zyvq31;", text=":3v1qzy="), TEXTS[0]], ["zyvq13;", "dcab;"]))
    assert (first, second) == ("✗  :3v1qzy= → zyvq13;", "✗  :abcd=   → dcab;")


def test_long_answers_take_the_room_and_leave_a_third_to_the_text() -> None:
    line = plain(answered_lines("✗", [Example("b" * 90, text="a" * 90)], ["b" * 89 + "c"])[0])
    assert re.fullmatch(r"✗  a{9}… → b{19}…", line) and len(line) == 36
