from __future__ import annotations

import pytest

from coto_lab.merging.core_space import CoreSpace
from coto_lab.merging.dare import Dare
from coto_lab.merging.fuse import Fuse
from coto_lab.merging.lego import Lego
from coto_lab.merging.registry import RULES
from coto_lab.merging.rule import Rule
from coto_lab.merging.svd import Svd
from coto_lab.merging.task_arithmetic import TaskArithmetic
from coto_lab.merging.ties import Ties
from coto_lab.widgets.rule_options import options_of, with_options

CASES = [
    (Fuse(), {}),
    (TaskArithmetic(0.4), {"scale": 0.4}),
    (Ties(0.3, 2), {"density": 0.3, "scale": 2}),
    (Dare(0.6, 3, TaskArithmetic(0.4)), {"density": 0.6, "scale": 0.4}),
    (CoreSpace(Ties(0.3, 2)), {"density": 0.3, "scale": 2}),
    (Dare(0.6, 3, Ties(1, 2)), {"density": 0.6, "scale": 2}),  # the density of the outer rule
    (Svd(8, Ties(0.3)), {"rank": 8, "density": 0.3, "scale": 1}),
    (Lego(), {"rank": None}),
]


@pytest.mark.parametrize(("rule", "options"), CASES)
def test_options_of_a_rule_and_of_the_one_within(rule: Rule, options: dict[str, float]) -> None:
    assert options_of(rule) == options
    assert with_options(rule, options) == rule


def test_new_options_go_where_they_came_from() -> None:
    assert with_options(Dare(0.6, 3, Ties(1, 2)), {"density": 0.5, "scale": 3}) == Dare(0.5, 3, Ties(1, 3))
    assert with_options(Svd(8, Ties(0.3)), {"rank": 2, "density": 0.1}) == Svd(2, Ties(0.1))
    assert with_options(Lego(), {"rank": 3}) == Lego(3)


def test_every_rule_by_name_keeps_its_kind() -> None:
    for rule in RULES.values():
        assert type(with_options(rule, options_of(rule))) is type(rule)
