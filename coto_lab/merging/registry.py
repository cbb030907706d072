"""Merging rules by name, each with its default options."""

from __future__ import annotations

from collections.abc import Mapping

from coto_lab.merging.core_space import CoreSpace
from coto_lab.merging.dare import Dare
from coto_lab.merging.ensemble import Ensemble
from coto_lab.merging.fuse import Fuse
from coto_lab.merging.lego import Lego
from coto_lab.merging.lora_star import LoRAStar
from coto_lab.merging.magnitude import Magnitude
from coto_lab.merging.rule import Rule
from coto_lab.merging.svd import Svd
from coto_lab.merging.task_arithmetic import TaskArithmetic
from coto_lab.merging.ties import Ties

RULES: Mapping[str, Rule] = {
    "fuse": Fuse(),
    "ensemble": Ensemble(),
    "cat": TaskArithmetic(scale=1.0),
    "task arithmetic": TaskArithmetic(),
    "ties": Ties(),
    "dare": Dare(),
    "magnitude": Magnitude(),
    "svd": Svd(),
    "lego": Lego(),
    "lora*": LoRAStar(),
    "core space": CoreSpace(),
}


def find_rule(how: str | Rule) -> Rule:
    """The rule itself, or the one with this name.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(how, Rule):
        return how
    if not isinstance(how, str) or how not in RULES:
        names = ", ".join(map(repr, list(RULES)[2:]))
        raise ValueError(
            f"how={how!r}: must be 'fuse' (average the factors) or 'ensemble' (average the updates), or one of {names}, or "
            "a rule with options, such as Ties(density=0.3). Give weights by their name, weights=[...]."
        )
    return RULES[how]
