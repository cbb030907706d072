"""Merging: six adapters of rank 4 by each rule, beside the ensemble, which only stacks factors. No model is run."""

from __future__ import annotations

from functools import partial

from _setup import Scale, random_adapter
from _timing import medians
from catalogue import merging_key

from coto_lab import merge
from coto_lab.merging.registry import RULES

ADAPTERS = 6


def merging(scale: Scale) -> dict[str, float]:
    """Seconds of each rule with its default options; all rules take turns."""
    task = scale.task()
    adapters = [random_adapter(task, seed) for seed in range(ADAPTERS)]
    calls = {name: partial(merge, adapters, name) for name in RULES}
    for call in calls.values():
        call()  # some rules import a library first
    taken = medians(calls, scale.repeats)
    found = {}
    for name, seconds in taken.items():
        found[f"{merging_key(name)}_s"] = seconds
        found[f"{merging_key(name)}_over_ensemble"] = seconds / taken["ensemble"]
    return found
