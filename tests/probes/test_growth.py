"""The growth of the updates, step by step, against ΔW built by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_tasks import gpt2_task

from coto_lab import Constant, Linear, Recipe, Task, Training
from coto_lab.probes.growth import growth

RECIPE = Recipe(r=2, steps=8, batch_size=8, schedule=Linear())


def test_lengths_are_those_of_the_updates(tiny_task: Task) -> None:
    found = growth(tiny_task, RECIPE, steps=5)
    training = Training(tiny_task, RECIPE)
    records = [training.step() for _ in range(5)]
    factors = training.run().adapter.factors()
    gates = training.gates
    assert found.length.shape == (5, len(gates)) and len(found.history) == 5
    for gate, name in enumerate(gates.names):
        updates = [b @ a for module, (a, b) in factors.items() if f"{name}." in module]
        assert len(updates) == (gates.gate_of_module == gate).sum()
        expected = torch.cat([update.flatten() for update in updates]).norm()
        torch.testing.assert_close(found.length[-1, gate], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.grad_norm, torch.stack([record.grad_norm.norm() for record in records]))
    torch.testing.assert_close(found.mean_length, found.length.mean(1))


def test_a_dropped_block_does_not_grow(tiny_task: Task) -> None:
    found = growth(tiny_task, replace(RECIPE, steps=8), steps=8)
    before = torch.cat([torch.zeros(1, found.length.shape[1]), found.length[:-1]])
    assert torch.equal(found.length == before, ~found.history.mask)


def test_a_training_that_breaks_ends_there(tiny_task: Task) -> None:
    found = growth(tiny_task, replace(RECIPE, lr=1e30, schedule=Linear(start=1)), steps=8)
    assert 0 < len(found.length) == len(found.history) < 8


@pytest.mark.parametrize(
    ("recipe", "steps", "message"),
    [
        (RECIPE, 0, "steps=0: must be"),
        (RECIPE, 9, "steps=9: must be"),
        (replace(RECIPE, method="dora"), 2, "recipe.method='dora': growth measures the update"),
    ],
)
def test_what_cannot_be_measured_is_refused(tiny_task: Task, recipe: Recipe, steps: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        growth(tiny_task, recipe, steps)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")  # PEFT of its own
def test_layers_that_store_their_weights_transposed_grow_as_others() -> None:
    """GPT-2's ``Conv1D``."""
    task = gpt2_task()
    found = growth(task, replace(RECIPE, schedule=Constant()), steps=2)
    training = Training(task, replace(RECIPE, schedule=Constant()))
    for _ in range(2):
        training.step()
    updates = training.run().adapter.update(task.load_base())
    expected = torch.cat([update.flatten() for name, update in updates.items() if ".h.0." in name]).norm()
    torch.testing.assert_close(found.length[-1, 0], expected, rtol=1e-4, atol=1e-6)
