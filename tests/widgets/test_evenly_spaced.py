from __future__ import annotations

import pytest
import torch
from tiny_tasks import CopyTask, language_task

from coto_lab import Classification
from coto_lab.tasks import Example
from coto_lab.widgets import InterpolationExplorer, LiveTraining, ScaleExplorer, SimplexExplorer, Switchboard
from coto_lab.widgets.evenly_spaced import evenly_spaced


def test_a_part_has_its_examples_its_labels_and_its_name(tiny_task: Classification) -> None:
    scored = evenly_spaced(tiny_task, 20)
    assert (scored.task.size("test"), len(scored.examples), scored.kind) == (15, 15, "image")
    assert torch.equal(scored.labels, tiny_task.test_batch["labels"][::3])
    assert torch.equal(scored.examples[2].image, tiny_task.test_batch["pixel_values"][6])
    assert scored.words == "test images (one in 3 of the test set)"
    assert evenly_spaced(language_task(), 12).words == "test examples"


def test_without_classes_there_are_no_labels() -> None:
    scored = evenly_spaced(CopyTask(), 20)
    assert scored.labels is None and scored.words == "test examples (one in 2 of the test set)"
    assert [e.text for e in scored.examples] == [e.text for e in CopyTask().show("test", range(0, 40, 2))]


def test_bad_parts_and_bad_shows_are_refused() -> None:
    with pytest.raises(ValueError, match="images=0"):
        evenly_spaced(CopyTask(), 0)
    with pytest.raises(ValueError, match="'copy' has no test examples"):
        evenly_spaced(CopyTask(test=0), 10)
    for shown in ([], [Example("a")], ["a"] * 40):
        task = CopyTask()
        task.show = lambda split, indices, shown=shown: shown
        with pytest.raises(ValueError, match="show of task 'copy' must return one Example for each of the 40"):
            evenly_spaced(task, 40)


@pytest.mark.parametrize("view", [Switchboard, InterpolationExplorer, SimplexExplorer, ScaleExplorer, LiveTraining])
def test_every_view_names_the_part_of_the_protocol_that_a_task_lacks(view: type, request: pytest.FixtureRequest) -> None:
    class Half:
        name = "half"
        base = "none"

        def size(self, split: str) -> int:
            return 3

    run, recipe = request.getfixturevalue("runs")[0], request.getfixturevalue("recipe")
    arguments = {
        Switchboard: ({"LoRA": run},),
        InterpolationExplorer: ({"LoRA": run},),
        SimplexExplorer: ({"LoRA": [run, run]},),
        ScaleExplorer: ({"LoRA": run}, "module"),
        LiveTraining: ({"LoRA": recipe},),
    }[view]
    with pytest.raises(TypeError, match=r"task \(Half\) is no Task: it lacks .*classes.*batch"):
        view(Half(), *arguments)
