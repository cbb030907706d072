"""Clocks: what is compared takes turns, so that a noisy machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

Call = Callable[[], object]


def seconds(call: Call) -> float:
    """How long a call takes, to the end of what it started on an accelerator."""
    _wait()
    started = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - started


def in_turns(calls: Mapping[str, Call], turns: int) -> dict[str, list[float]]:
    """Seconds of each call in each turn; who goes first rotates."""
    names = list(calls)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            taken[name].append(seconds(calls[name]))
    return taken


def medians(calls: Mapping[str, Call], turns: int) -> dict[str, float]:
    """Median seconds of each call, taking turns."""
    return {name: median(values) for name, values in in_turns(calls, turns).items()}


def _wait() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
