"""Scoring one variant after the other, against the model that PEFT itself builds."""

from __future__ import annotations

import pytest
import torch

from coto_lab import Adapter, Classification, Run
from coto_lab.scoring.one_by_one import OneByOne
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.sheet import Sheet

CPU = torch.device("cpu")


def scored(task: Classification, scorer: OneByOne, adapters: list[Adapter], masks: list[torch.Tensor | None]) -> Scores:
    sheet = Sheet(task, len(adapters), range(task.size("test")), outputs=True)
    scorer.score(adapters, masks, "test", sheet)
    return sheet.scores(tuple(str(i) for i in range(len(adapters))))


@pytest.mark.parametrize("batch_size", [1, 7, 45, 100])
def test_adapters_take_turns_in_one_model(tiny_task: Classification, runs: tuple[Run, Run], batch_size: int) -> None:
    a, b = (run.adapter for run in runs)
    scorer = OneByOne(tiny_task.load_base, a, device=CPU, batch_size=batch_size)
    shut, high = torch.zeros(4, dtype=torch.bool), torch.tensor([False, False, False, True])
    logits = scored(tiny_task, scorer, [a, b, a, a, b, a], [None, None, shut, high, high, None]).logits
    assert logits.isfinite().all() and logits.shape == (6, 45, 3)
    images = tiny_task.test_batch["pixel_values"]
    with torch.no_grad():
        for found, adapter in ((logits[0], a), (logits[1], b), (logits[5], a)):
            expected = adapter.attach(tiny_task.load_base()).eval()(pixel_values=images).logits
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(logits[2], tiny_task.load_base().eval()(pixel_values=images).logits, rtol=0, atol=1e-5)
    assert not torch.allclose(logits[3], logits[4]) and not torch.allclose(logits[3], logits[0])
    assert scorer.gates.mask.all() and len(scorer.gates) == 8


def test_making_one_leaves_the_global_random_numbers_alone_and_scoring_the_gradients_off(
    tiny_task: Classification, runs: tuple[Run, Run]
) -> None:
    before = torch.get_rng_state()
    scorer = OneByOne(tiny_task.load_base, runs[0].adapter, device=CPU, batch_size=64)
    assert torch.equal(torch.get_rng_state(), before)
    scored(tiny_task, scorer, [runs[0].adapter], [None])
    assert all(parameter.grad is None for parameter in scorer.model.parameters()) and not scorer.model.training
