"""Skills on strings: what the embedded language model was trained on, and what a new skill is made of.

An example is one line of text: a sign that names the skill, a body, ``=``, the answer, and ``;`` for its end. ``Rabcd=dcba;``
says that the body ``abcd`` reversed is ``dcba``. Signs of the skills that the base model knows are capitals.
"""

from __future__ import annotations

import string
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

LETTERS, DIGITS = string.ascii_lowercase, string.digits
SYMBOLS = DIGITS + LETTERS  # what strings are made of, in the order by which they are sorted
LENGTHS = range(3, 8)  # of the strings that the base model was trained on, in characters
BODY_LENGTHS = range(3, 10)  # of all bodies of pre-training
MOST_CHARACTERS = 17  # of a whole example of pre-training
EQUALS, END = "=", ";"

_HELD_OUT = 8  # one body out of so many


@dataclass(frozen=True)
class Skill:
    """A rule that turns a body into an answer.

    Attributes:
        name: what it is called.
        sign: the character that stands for it at the start of an example.
        about: what it does, in a few words.
        rule: body -> answer, without `END`.
        draw: makes a random body.

    Raises:
        TypeError: ``rule`` cannot be called.
        ValueError: ``sign`` is not one character, or is one of `SYMBOLS`, of which bodies are made.
    """

    name: str
    sign: str
    about: str
    rule: Callable[[str], str]
    draw: Callable[[Random], str]

    def __post_init__(self) -> None:
        if not isinstance(self.sign, str) or len(self.sign) != 1 or self.sign in SYMBOLS:
            raise ValueError(f"sign={self.sign!r}: must be one character, and neither a digit nor a small letter, such as '!'.")
        if not callable(self.rule):
            raise TypeError(f"rule={self.rule!r}: must be a function of a body, such as lambda body: body[::-1].")

    def prompt(self, body: str) -> str:
        """What the model is given: ``"Rabcd="``."""
        return f"{self.sign}{body}{EQUALS}"

    def answer(self, body: str) -> str:
        """What the model shall say, to its end: ``"dcba;"``."""
        return self.rule(body) + END

    def body(self, random: Random, held_out: bool) -> str:
        """A random body that pre-training can have seen, or, with ``held_out``, one that it cannot have seen."""
        while is_held_out(body := self.draw(random)) != held_out:
            pass
        return body


def is_held_out(body: str) -> bool:
    """Whether no example of pre-training has this body: every eighth body, by a checksum. New tasks are tested on such bodies.

    The same characters can occur in pre-training as an answer, or inside a longer body.
    """
    return zlib.crc32(body.encode()) % _HELD_OUT == 0


def text(random: Random, lengths: range = LENGTHS, symbols: str = SYMBOLS) -> str:
    """A random string."""
    return "".join(random.choices(symbols, k=random.choice(lengths)))


def short_text(random: Random) -> str:
    """A random string of three or four characters, for answers that are twice as long."""
    return text(random, range(3, 5))


def two_numbers(between: str, most: int) -> Callable[[Random], str]:
    """Draws two numbers from 0 to ``most`` with two digits each, and a character between them."""
    return lambda random: f"{random.randint(0, most):02}{between}{random.randint(0, most):02}"


def numbers(body: str) -> list[int]:
    """The numbers with two digits of which a body is made, with one character between them."""
    return [int(body[i : i + 2]) for i in range(0, len(body), 3)]


def moved(by: int) -> Callable[[str], str]:
    """Replaces each character by the one ``by`` places later among the letters (after z comes a) or the digits (after 9, 0)."""
    table = str.maketrans(LETTERS + DIGITS, LETTERS[by:] + LETTERS[:by] + DIGITS[by:] + DIGITS[:by])
    return lambda body: body.translate(table)


def _counted(random: Random) -> str:
    """Six characters, of which few are different, and one of them."""
    few = random.sample(SYMBOLS, 3)
    return f"{''.join(random.choices(few, k=6))},{random.choice(few)}"


def _list(random: Random) -> str:
    """A string, and a place in it, counted from 1."""
    items = text(random)
    return f"{items},{random.randint(1, len(items))}"


def _unequal(random: Random) -> str:
    first, second = random.sample(range(100), 2)
    return f"{first:02},{second:02}"


SKILLS: Mapping[str, Skill] = {
    skill.name: skill
    for skill in (
        Skill("copy", "C", "the string", lambda body: body, text),
        Skill("reverse", "R", "the string from its end", lambda body: body[::-1], text),
        Skill("sort", "S", "its characters in order, digits before letters", lambda body: "".join(sorted(body)), text),
        Skill("successor", "N", "the next character, for each; a follows z, 0 follows 9", moved(1), text),
        Skill("rotate", "L", "the first character moves to the end", lambda body: body[1:] + body[0], text),
        Skill("stutter", "D", "each character twice", lambda body: "".join(c * 2 for c in body), short_text),
        Skill("odd places", "O", "the first, third, fifth ... character", lambda body: body[::2], text),
        Skill("largest", "M", "the character that is last in order", max, text),
        Skill("smallest", "W", "the character that is first in order", min, text),
        Skill("count", "K", "how often the last character occurs before the comma",
              lambda body: str(body[:-2].count(body[-1])), _counted),
        Skill("look-up", "V", "the character at this place of the list", lambda body: body[int(body[-1]) - 1], _list),
        Skill("sum", "P", "the sum of two numbers up to 49", lambda body: f"{sum(numbers(body)):02}", two_numbers("+", 49)),
        Skill("compare", "G", "< if the first number is the smaller one, otherwise >",
              lambda body: "<" if body[:2] < body[3:] else ">", _unequal),
    )
}  # fmt: skip
