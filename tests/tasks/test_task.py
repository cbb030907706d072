"""What every task can do."""

from __future__ import annotations

import torch

from coto_lab import Task


def test_every_fourth_test_image_and_nothing_else_changed(tiny_task: Task) -> None:
    part = tiny_task.every(4)
    assert all(torch.equal(part.test_batch[name], column[::4]) for name, column in tiny_task.test_batch.items())
    assert (part.train, part.name, part.base, part.classes) == (
        tiny_task.train,
        tiny_task.name,
        tiny_task.base,
        tiny_task.classes,
    )
    assert len(tiny_task.test) == 45 and len(part.test) == 12
