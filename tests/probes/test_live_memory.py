"""Bytes at the peak, beside sizes that are known and beside PyTorch's profiler."""

from __future__ import annotations

import pytest
import torch
from torch.profiler import profile

from coto_lab import Recipe, Task, Training
from coto_lab.probes.live_memory import peak_bytes

KIB = 1024


def test_what_is_freed_no_longer_counts() -> None:
    def call() -> None:
        for _ in range(5):
            torch.zeros(KIB)

    assert peak_bytes(call) == 4 * KIB


def test_views_and_what_was_there_before_count_for_nothing() -> None:
    before = torch.zeros(8 * KIB)

    def call() -> torch.Tensor:
        before.add_(1)
        kept = before.view(8, KIB)[:4].t() + 0.0
        return kept[1:].reshape(-1)[:3]  # a copy: the rows are no longer in order

    copied = 4 * (KIB - 1) * 4
    assert peak_bytes(call) == 4 * 4 * KIB + copied


def test_all_that_is_alive_at_once_counts() -> None:
    def call() -> None:
        kept = [torch.zeros(KIB, dtype=torch.float64) for _ in range(3)]
        del kept[0]
        kept.append(torch.zeros(KIB // 2, dtype=torch.float64))

    assert peak_bytes(call) == 3 * 8 * KIB


@pytest.mark.parametrize("method", ["lora", "dora"])
@pytest.mark.filterwarnings("ignore:.*profiler.*")
def test_a_training_step_has_the_peak_that_the_profiler_sees(tiny_task: Task, method: str) -> None:
    training = Training(tiny_task, Recipe(method=method, r=2, steps=4, batch_size=8))
    training.step()
    counted = peak_bytes(training.step)
    with profile(profile_memory=True) as profiled:
        training.step()
    live = peak = 0
    for event in sorted(profiled.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    assert counted == pytest.approx(peak, rel=0.05)
