"""The embedded tasks on strings: skills that the base model has never seen, each behind a sign of its own.

The base is the language model in ``data/letter-llama`` (see its README). Nothing is downloaded. Because each task has its own
sign, one model with merged adapters can be asked for several of them.

Of a sum in a test set, the other order (``25+17`` for ``17+25``) can be in the training set, or in pre-training.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from coto_lab.tasks.skills import Skill, moved, numbers, text, two_numbers
from coto_lab.tasks.string_task import StringTask

TRAIN, TEST = 1024, 512  # the most examples of a split; there are fewer sums
_DRAWS = 8  # bodies that are drawn for each that is wanted, since some are drawn twice
_successor, _predecessor = moved(1), moved(-1)
_addends = two_numbers("+", 49)


def _text(random: Random) -> str:
    return text(random, range(4, 7))


def _swapped(body: str) -> str:
    return "".join(body[i : i + 2][::-1] for i in range(0, len(body), 2))


def _sum(body: str, more: int = 0) -> str:
    return f"{sum(numbers(body)) + more:02}"


TASKS: Mapping[str, Skill] = {
    skill.name: skill
    for skill in (
        Skill("rotate-back", "!", "the last character moves to the front", lambda body: body[-1] + body[:-1], _text),
        Skill("swap-pairs", "#", "the first two characters change places, then the next two ...", _swapped, _text),
        Skill("even-places", "$", "the second, fourth ... character", lambda body: body[1::2], _text),
        Skill("predecessor", "%", "the previous character, for each; z precedes a, 9 precedes 0", _predecessor, _text),
        Skill("three-later", "&", "the character three places later, for each", moved(3), _text),
        Skill("reverse-successor", "*", "the next character, for each, from the end", lambda b: _successor(b[::-1]), _text),
        Skill("sort-descending", ":", "the characters in order, the last first", lambda b: "".join(sorted(b)[::-1]), _text),
        Skill("sort-successor", "?", "the next character, for each, in order", lambda b: _successor("".join(sorted(b))), _text),
        Skill("second-largest", "@", "the last character in order but one", lambda body: sorted(body)[-2], _text),
        Skill("larger-number", "~", "the larger of two numbers", lambda b: f"{max(numbers(b)):02}", two_numbers(",", 99)),
        Skill("sum-reversed", "^", "the sum of two numbers up to 49, from its end", lambda b: _sum(b)[::-1], _addends),
        Skill("sum-plus-one", "|", "the sum of two numbers up to 49, plus one", lambda b: _sum(b, 1), _addends),
    )
}


def load_string_task(name: str) -> StringTask:
    """The task whose skill is ``TASKS[name]``: up to 1,024 training and 512 test examples, always the same ones.

    Bodies of the test set are held out from pre-training, too (`is_held_out`).

    Raises:
        KeyError: no such task.
        ValueError: the base model's tokenizer is damaged.
    """
    skill, random = TASKS[name], Random(name)

    def bodies(most: int, held_out: bool) -> list[str]:
        found = sorted({skill.body(random, held_out) for _ in range(_DRAWS * most)})
        return random.sample(found, min(most, len(found)))

    return StringTask(skill, bodies(TRAIN, held_out=False), bodies(TEST, held_out=True), f"strings/{name}")
