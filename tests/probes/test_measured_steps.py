"""Which batches are measured, and that every kind of step is."""

from __future__ import annotations

import pytest
import torch
from tiny_tasks import CopyTask

from coto_lab import Classification, Recipe
from coto_lab.ground.randomness import batch_indices
from coto_lab.probes._measured_steps import measure_steps, typical_batches

RECIPE = Recipe(r=2, steps=24, batch_size=2)


def test_typical_batches_are_the_middles_of_the_thirds_by_size() -> None:
    task = CopyTask()
    drawn = [batch_indices(48, 2, 0, step) for step in torch.linspace(0, 23, 12).round().long().tolist()]
    sizes = sorted(task.batch("train", places)["input_ids"].shape[1] for places in drawn)
    assert sizes[0] < sizes[-1], "examples differ in length"
    timed, largest = typical_batches(task, RECIPE)
    found = [task.batch("train", places)["input_ids"].shape[1] for places in timed]
    assert found == [sizes[2], sizes[6], sizes[10]]
    assert task.batch("train", largest)["input_ids"].shape[1] == sizes[-1]


def test_one_batch_is_enough_where_all_have_one_size(tiny_task: Classification) -> None:
    (timed,), largest = typical_batches(tiny_task, RECIPE)
    assert torch.equal(timed, largest) and len(timed) == 2


def test_a_training_of_one_step_has_one_batch() -> None:
    (timed,), largest = typical_batches(CopyTask(), Recipe(steps=1, batch_size=2))
    assert torch.equal(timed, largest) and torch.equal(timed, batch_indices(48, 2, 0, 0))


def test_every_kind_of_step_is_timed_on_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def timed(training):  # type: ignore[no-untyped-def]
        mask = training.coto.mask(len(training.records))
        step = training.step()
        assert torch.equal(step.mask, mask)
        seen.append((tuple(mask.tolist()), step.lr))
        return float(mask.sum())

    monkeypatch.setattr("coto_lab.probes._measured_steps.timed_step", timed)
    measured = measure_steps(CopyTask(), RECIPE, [None], seconds=1e-9)
    kinds = 5  # of four blocks: the lowest, a middle and the highest one, alone and with all above
    assert measured.blocks == (4,) and measured.steps == 3 * kinds and len(seen) == 2 * 3 * kinds
    assert len({mask for mask, _ in seen}) == kinds and max(lr for _, lr in seen) < 1e-9
    assert measured.work[:, 0].tolist() == [1] * kinds and measured.work[:, 1].tolist() == [4] * kinds
    assert measured.seconds.tolist() == measured.work[:, 3].tolist()
    assert measured.moments == pytest.approx(2, rel=0.05)
