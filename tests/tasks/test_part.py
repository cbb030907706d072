"""A part of a test set, and nothing else changed."""

from __future__ import annotations

import pytest
import torch
from tiny_tasks import CopyTask, SpeakingTask, headed_task

from coto_lab import Classification
from coto_lab.tasks import Part
from coto_lab.tasks.task import has_outputs, modules_to_save_of, say_of, skeleton_of


def test_every_fourth_test_image_and_nothing_else_changed(tiny_task: Classification) -> None:
    part = tiny_task.every(4)
    assert all(
        torch.equal(part.batch("test", range(part.size("test")))[name], column[::4])
        for name, column in tiny_task.test_batch.items()
    )
    whole = tiny_task.batch("train", range(30))
    assert all(torch.equal(part.batch("train", range(30))[name], column) for name, column in whole.items())
    assert (part.name, part.base, part.classes) == (tiny_task.name, tiny_task.base, tiny_task.classes)
    assert (tiny_task.size("test"), part.size("test"), part.size("train")) == (45, 12, 30)


def test_a_part_of_any_task_and_of_a_part() -> None:
    whole = CopyTask(test=10)
    part = Part(Part(whole, 2), 2)
    assert part.size("test") == 3 and part.size("train") == whole.size("train")
    shown = [example.text for example in part.show("test", range(3))]
    assert shown == [example.text for example in whole.show("test", [0, 4, 8])]
    with pytest.raises(ValueError, match="step=0"):
        Part(whole, 0)


def test_a_part_speaks_where_its_task_does() -> None:
    part = Part(Part(SpeakingTask(test=10), 2), 2)
    batch = part.batch("test", range(3))
    prediction = torch.nn.functional.one_hot(batch["targets"][:, 1:].clamp(min=0), 10).float()
    assert part.say(prediction, batch) == [example.answer for example in part.show("test", range(3))]
    assert say_of(part) is not None and has_outputs(part)
    silent = Part(CopyTask(), 2)
    assert not hasattr(silent, "say") and say_of(silent) is None and not has_outputs(silent)


def test_a_part_has_the_new_layers_and_the_skeleton_of_its_task() -> None:
    class Sketched(CopyTask):
        def skeleton(self) -> torch.nn.Module:
            with torch.device("meta"):
                return super().load_base()

    part = Part(Part(Sketched(), 2), 2)
    skeleton = skeleton_of(part)
    assert skeleton is not None and next(skeleton().parameters()).is_meta
    assert modules_to_save_of(part) == () and modules_to_save_of(Part(headed_task(), 2)) == ("classifier",)
    assert skeleton_of(Part(CopyTask(), 2)) is None and not hasattr(Part(CopyTask(), 2), "skeleton")
