from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from coto_lab.tasks.characters import CHARACTERS, NEW_SIGNS
from coto_lab.tasks.skills import (
    BODY_LENGTHS,
    LENGTHS,
    MOST_CHARACTERS,
    SKILLS,
    SYMBOLS,
    is_held_out,
    moved,
    numbers,
    text,
    two_numbers,
)

BY_HAND = {
    "copy": ("a1b2", "a1b2"),
    "reverse": ("a1b2", "2b1a"),
    "sort": ("b9a0z", "09abz"),
    "successor": ("az09m", "ba10n"),
    "rotate": ("abcd", "bcda"),
    "stutter": ("ab1", "aabb11"),
    "odd places": ("abcde", "ace"),
    "largest": ("a9mb", "m"),
    "smallest": ("a9mb", "9"),
    "count": ("abcab,a", "2"),
    "look-up": ("abcde,2", "b"),
    "sum": ("17+25", "42"),
    "compare": ("17,25", "<"),
}


@pytest.mark.parametrize("name", SKILLS)
def test_a_skill_answers_as_by_hand(name: str) -> None:
    body, answer = BY_HAND[name]
    assert SKILLS[name].rule(body) == answer
    assert SKILLS[name].prompt(body) == f"{SKILLS[name].sign}{body}="
    assert SKILLS[name].answer(body) == f"{answer};"


def test_answers_of_zero_and_of_the_other_sign() -> None:
    assert SKILLS["count"].rule("bcb,a") == "0"
    assert SKILLS["sum"].rule("03+04") == "07"
    assert SKILLS["compare"].rule("90,25") == ">"


@pytest.mark.parametrize("name", SKILLS)
def test_bodies_are_of_the_lengths_that_the_base_is_said_to_know(name: str) -> None:
    random, skill = Random(0), SKILLS[name]
    bodies = [skill.body(random, held_out) for held_out in (False, True) for _ in range(500)]
    assert [is_held_out(body) for body in bodies] == [False] * 500 + [True] * 500
    assert {len(body) for body in bodies} <= set(BODY_LENGTHS)
    assert max(len(skill.prompt(body) + skill.answer(body)) for body in bodies) <= MOST_CHARACTERS
    assert all(set(skill.prompt(body) + skill.answer(body)) <= set(CHARACTERS) for body in bodies)


def test_the_limits_are_reached() -> None:
    random = Random(0)
    drawn = [(skill, skill.body(random, False)) for skill in SKILLS.values() for _ in range(500)]
    assert {len(body) for _, body in drawn} == set(BODY_LENGTHS)
    assert max(len(skill.prompt(body) + skill.answer(body)) for skill, body in drawn) == MOST_CHARACTERS


def test_every_skill_has_a_sign_of_its_own() -> None:
    signs = [skill.sign for skill in SKILLS.values()]
    assert len(set(signs)) == len(signs) and all(len(sign) == 1 for sign in signs)
    assert not set(signs) & (set(SYMBOLS) | set(NEW_SIGNS))


def test_one_body_in_eight_is_held_out() -> None:
    random = Random(0)
    share = sum(is_held_out(text(random)) for _ in range(8000)) / 8000
    assert 0.11 < share < 0.14


def test_strings_have_all_lengths_and_symbols() -> None:
    random = Random(0)
    strings = [text(random) for _ in range(2000)]
    assert {len(string) for string in strings} == set(LENGTHS)
    assert set("".join(strings)) == set(SYMBOLS)


def test_numbers_are_read_as_they_are_written() -> None:
    assert numbers("07+05+19") == [7, 5, 19]
    body = two_numbers("-", 30)(Random(1))
    assert len(body) == 5 and body[2] == "-" and all(0 <= number <= 30 for number in numbers(body))


@pytest.mark.parametrize("sign", ["", "!!", "a", "7", None, 3])
def test_a_sign_is_one_character_that_is_in_no_body(sign: object) -> None:
    with pytest.raises(ValueError, match=r"sign=.*: must be one character"):
        replace(SKILLS["copy"], sign=sign)


def test_a_rule_is_a_function() -> None:
    with pytest.raises(TypeError, match="rule='abc': must be a function"):
        replace(SKILLS["copy"], rule="abc")


def test_moving_forth_and_back_is_nothing() -> None:
    assert moved(3)("xyz789") == "abc012"
    assert moved(-3)(moved(3)(SYMBOLS)) == SYMBOLS
