"""Lists and dicts that come from outside: whether what a user gave is one, and holds the right things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def list_of(name: str, items: object, kind: type[T] | tuple[type[T], ...], advice: str) -> list[T]:
    """``items`` as a list with at least one item, all of which are of ``kind``.

    A string and a mapping can be iterated over, too, but whoever gives one has mistaken the argument. A set has no order, or
    another one in another process.

    Args:
        name: of the argument, for messages.
        items: what the user gave.
        kind: the class of every item, or several.
        advice: the end of the message, which says what to give.

    Raises:
        TypeError: ``items`` is no list, or an item is of another class.
        ValueError: ``items`` is empty.
    """
    if isinstance(items, (str, bytes, Mapping, set, frozenset)) or not isinstance(items, Iterable):
        raise TypeError(f"{name} is a {type(items).__name__}: {advice}")
    found = list(items)
    if not found:
        raise ValueError(f"{name} is empty: give at least one.")
    for i, item in enumerate(found):
        if not isinstance(item, kind):
            raise TypeError(f"{name}[{i}] is a {type(item).__name__}: {advice}")
    return found


def check_dict(name: str, items: object, kind: type, advice: str) -> None:
    """Look whether ``items`` is a dict with at least one entry, all of ``kind``; the arguments are those of `list_of`.

    Raises:
        TypeError: ``items`` is no mapping, or an entry is of another class.
        ValueError: ``items`` is empty.
    """
    if not isinstance(items, Mapping):
        raise TypeError(f"{name} is a {type(items).__name__}: {advice}")
    if not items:
        raise ValueError(f"{name} is empty: give at least one.")
    for key, item in items.items():
        if not isinstance(item, kind):
            raise TypeError(f"{name}[{key!r}] is a {type(item).__name__}: {advice}")
