"""Examples of different lengths: how many variants go together is found for each length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from scoring.test_tree import peak_memory
from tiny_tasks import CopyTask, lora_adapters
from torch import Tensor

from coto_lab import Evaluator, Variant


class LongerLater(CopyTask):
    """From the 16th example on, texts are twelve times as long."""

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> dict[str, Tensor]:
        batch = super().batch(split, indices)
        length = 12 * 8 if max(int(i) for i in indices) >= 16 else 8
        fill = {"input_ids": self._pad, "attention_mask": 0, "targets": -100}
        return {
            name: torch.nn.functional.pad(column, (0, length - column.shape[1]), value=fill[name])
            for name, column in batch.items()
        }


def variants(task: CopyTask, n: int) -> list[Variant]:
    adapter = lora_adapters(task)[0]
    return [Variant(adapter, mask) for mask in (torch.arange(n)[:, None] >> torch.arange(4) & 1).bool()]


def test_the_peak_stays_within_the_memory_where_later_examples_are_longer(tmp_path: Path) -> None:
    task, memory = LongerLater(), 3_000_000
    evaluator = Evaluator(task, batch_size=8, memory=memory)
    games = variants(task, 16)
    evaluator(games)
    results = 2 * 8 * len(games) * task.size("test")
    assert peak_memory(lambda: evaluator(games), tmp_path / "trace.json") - results < memory


def test_their_scores_are_those_of_the_loop() -> None:
    task = LongerLater()
    games = variants(task, 16)
    together, one_by_one = (Evaluator(task, batch_size=8, together=way)(games).values["loss"] for way in (True, False))
    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-5)


def test_too_little_memory_for_longer_examples_is_told() -> None:
    task = LongerLater()
    evaluator = Evaluator(task, batch_size=8, memory=200_000)
    with pytest.raises(ValueError, match="memory=200000: too small for one variant"):
        evaluator(variants(task, 4))
