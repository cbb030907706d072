"""The options of a merging rule that a view offers as sliders: density, scale and rank, also those of a rule within."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from coto_lab.merging.rule import Rule

OPTIONS = ("density", "scale", "rank")


def options_of(rule: Rule) -> dict[str, Any]:
    """Option -> its value, of the rule or, where it has none of this name, of the rule that it uses (``of``)."""
    own = {field.name: getattr(rule, field.name) for field in fields(rule)}  # type: ignore[arg-type]  # rules are dataclasses
    inner = options_of(own["of"]) if "of" in own else {}
    return inner | {name: own[name] for name in OPTIONS if name in own}


def with_options(rule: Rule, options: Mapping[str, Any]) -> Rule:
    """The rule with these options, each given to the rule that `options_of` took it from."""
    names = {field.name for field in fields(rule)}  # type: ignore[arg-type]
    own: dict[str, Any] = {name: value for name, value in options.items() if name in names}
    if "of" in names:
        rest = {name: value for name, value in options.items() if name not in own}
        own["of"] = with_options(rule.of, rest)  # type: ignore[attr-defined]
    return replace(rule, **own)  # type: ignore[type-var]
