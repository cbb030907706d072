"""The methods of this folder, found by name: a new file in it is a new method, and nothing lists them by hand."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import asdict, fields
from functools import cache
from typing import Any

from coto_lab.adapters import methods
from coto_lab.adapters.methods.method import Method


def known_methods() -> dict[str, type[Method]]:
    """The class of every method by its name, in the order of their files.

    Raises:
        ValueError: two methods of one name, a method without a name, or one with an option that has no default.
    """
    files = sorted((name, finder.path) for finder, name, _ in pkgutil.iter_modules(methods.__path__))  # type: ignore[union-attr]
    return dict(_found(tuple(files)))


@cache
def _found(files: tuple[tuple[str, str], ...]) -> dict[str, type[Method]]:
    importlib.invalidate_caches()  # a file that was added while Python runs
    found: dict[str, type[Method]] = {}
    for name, _ in files:
        module = importlib.import_module(f"{methods.__name__}.{name}")
        for kind in vars(module).values():
            own = isinstance(kind, type) and issubclass(kind, Method) and kind.__module__ == module.__name__
            if own and kind is not Method and not kind.__name__.startswith("_"):
                _check(kind, found)
                found[kind.name] = kind
    return found


def _check(kind: type[Method], found: dict[str, type[Method]]) -> None:
    name = getattr(kind, "name", None)
    if not (isinstance(name, str) and name):
        raise ValueError(f"{kind.__module__}.{kind.__name__} has name={name!r}: give it a name: ClassVar[str] = '...'.")
    if name in found:
        raise ValueError(f"{kind.__module__} and {found[name].__module__} both call their method {name!r}: rename one.")
    try:
        kind()
    except TypeError as error:
        raise ValueError(
            f"{kind.__module__}.{kind.__name__} cannot be made without arguments: {error}. Write every abstract method, and "
            "give every option a default."
        ) from error


def find_method(method: str | Method) -> Method:
    """The method of this name with its default options; a `Method` is returned as it is.

    Raises:
        ValueError: no method has this name.
    """
    if isinstance(method, Method):
        return method
    kind = known_methods().get(method) if isinstance(method, str) else None
    if kind is None:
        names = ", ".join(map(repr, known_methods()))
        raise ValueError(f"method={method!r}: must be one of {names}, or a Method with options.")
    return kind()


def method_of(config: dict[str, Any]) -> Method | None:
    """The method, with its default options, that recognises a PEFT configuration: the first by its file's name, or None."""
    return next((kind() for kind in known_methods().values() if kind().recognises(config)), None)


def short_form(method: str | Method) -> str | Method:
    """The name alone, where that says it all: for a method of this folder with its default options.

    Raises:
        ValueError: no method has this name, or another class has the name of ``method``.
    """
    found = find_method(method)
    known = known_methods().get(found.name)
    if known is not None and known is not type(found):
        raise ValueError(f"method={method!r}: {found.name!r} is the name of {known.__name__}; give it another name.")
    return found.name if known is not None and found == known() else found


def to_json(method: str | Method) -> str | dict[str, Any]:
    """A method as JSON values: its name, or an object with the name and the options."""
    return method if isinstance(method, str) else {"name": method.name} | asdict(method)


def from_json(value: Any) -> str | Method:
    """The method that `to_json` wrote, in its `short_form`.

    Raises:
        ValueError: a method or an option that this version does not know.
    """
    if not isinstance(value, dict):
        return short_form(value)
    options = {key: option for key, option in value.items() if key != "name"}
    kind = type(find_method(value.get("name", "")))
    known = [field.name for field in fields(kind)]
    if unknown := options.keys() - set(known):
        has = f"it has {', '.join(map(repr, known))}" if known else "it has no options"
        raise ValueError(f"method {kind.name!r} has no {sorted(unknown)}; {has}.")
    return short_form(kind(**options))
