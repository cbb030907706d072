"""Rules by name."""

from __future__ import annotations

import inspect
import sys
import types
from pathlib import Path

import pytest
import torch
from merging_cases import lora
from same import same

from coto_lab import merge
from coto_lab.merging import core_space, dare, ensemble, fuse, lego, lora_star, magnitude, svd, task_arithmetic, ties
from coto_lab.merging.registry import RULES, find_rule
from coto_lab.merging.rule import Rule, UpdateRule
from coto_lab.merging.updates import updates_of

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
MODULES = (core_space, dare, ensemble, fuse, lego, lora_star, magnitude, svd, task_arithmetic, ties)


def test_every_rule_has_a_name_and_says_where_it_is_from() -> None:
    classes = {own for module in MODULES for own in vars(module).values() if inspect.isclass(own) and issubclass(own, Rule)}
    found = classes - {Rule, UpdateRule}
    assert {type(rule) for rule in RULES.values()} == found
    assert all("Source: " in inspect.getdoc(own) for own in found)  # type: ignore[operator]


def test_a_rule_is_found_by_its_name_or_is_itself() -> None:
    rule = ties.Ties(density=0.3)
    assert find_rule(rule) is rule and find_rule("ties") == ties.Ties() and find_rule("fuse") == fuse.Fuse()
    adapters = [lora(0), lora(1)]
    for name, own in RULES.items():
        assert same(merge(adapters, name), merge(adapters, own)), name


@pytest.mark.parametrize("how", ["TIES", "average", "", None, 3, ["ties"], ties.Ties], ids=str)
def test_what_is_no_rule_is_refused_with_those_there_are(how: object) -> None:
    with pytest.raises(
        ValueError, match=r"how=.*: must be 'fuse' .* or 'ensemble' .*, or one of 'cat', .*'lora\*', 'core space'"
    ):
        find_rule(how)  # type: ignore[arg-type]


def test_the_rule_that_contributing_shows_works() -> None:
    section = CONTRIBUTING.read_text(encoding="utf-8").split("## Add a merging rule")[1].split("\n## ")[0]
    module = types.ModuleType("coto_lab.merging.median")
    sys.modules[module.__name__] = module  # dataclasses look there
    try:
        exec(section.split("```python\n")[1].split("```")[0], vars(module))
    finally:
        del sys.modules[module.__name__]
    adapters = [lora(seed) for seed in range(3)]
    expected = {name: own.median(0).values for name, own in updates_of(adapters)}
    for name, update in updates_of([merge(adapters, module.Median())]):
        torch.testing.assert_close(update[0], expected[name])
    assert merge(adapters, core_space.CoreSpace(module.Median())).config["r"] <= sum(
        adapter.config["r"] for adapter in adapters
    )
