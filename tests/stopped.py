"""A training that stops in the middle, and goes on from its state."""

from __future__ import annotations

from pathlib import Path

import pytest

from coto_lab import Recipe, Run, Task, fit
from coto_lab.training.history import Step


class Stopped(Exception):
    pass


def stopped_and_resumed(task: Task, recipe: Recipe, folder: Path) -> tuple[Run, Run]:
    """The run in one go, and the one that was stopped after 8 steps, of which its state holds 4."""

    def stop(record: Step) -> None:
        if record.step == 7:
            raise Stopped

    settings = {"checkpoint": folder / "state", "checkpoint_every": 4, "progress": False}
    with pytest.raises(Stopped):
        fit(task, recipe, on_step=stop, **settings)
    steps: list[Step] = []
    resumed = fit(task, recipe, on_step=steps.append, **settings)
    assert steps[0].step == 4 and len(resumed.history) == recipe.steps
    return fit(task, recipe, progress=False), resumed
