from __future__ import annotations

from dataclasses import replace

import pytest

from coto_lab.figures.memory import memory_figure
from coto_lab.probes.memory import GIB, Memory

MEMORY = Memory(
    weights=4 * GIB, gradients=GIB // 2, optimiser=GIB, activations=GIB * 9 // 2, checkpointed=GIB // 2, checkpoints=False,
    stored="float32", other_weights={},
)  # fmt: skip
PARTS = ["weights", "gradients", "optimiser", "activations"]


def test_bars_are_shares_of_what_is_needed_without_checkpointing() -> None:
    kept, checkpointed = memory_figure(MEMORY).data
    assert (kept.name, checkpointed.name) == ("all activations kept: 10.0 GiB", "gradient checkpointing: 6.0 GiB")
    assert list(kept.x) == list(checkpointed.x) == PARTS
    assert list(kept.y) == pytest.approx([40, 5, 10, 45]) and list(checkpointed.y) == pytest.approx([40, 5, 10, 5])
    assert list(kept.text) == ["4.0 GiB", "512.0 MiB", "1.0 GiB", "4.5 GiB"]


def test_a_model_that_cannot_checkpoint_has_one_bar() -> None:
    (kept,) = memory_figure(replace(MEMORY, checkpointed=None)).data
    assert kept.name == "all activations kept: 10.0 GiB"


def test_guesses_are_crosses_at_their_parts() -> None:
    *_, cross = memory_figure(MEMORY, {"activations": 30.0}).data
    assert (list(cross.x), list(cross.y), cross.marker.symbol) == (["activations"], [30.0], "x")
