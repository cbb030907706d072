from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from coto_lab import Evaluator, Run, Task, Variant
from coto_lab.probes.stability import Stability, masks_with, pool, stability


def rows(masks: torch.Tensor) -> set[tuple[bool, ...]]:
    return set(map(tuple, masks.tolist()))


@pytest.fixture(scope="module")
def record(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> Stability:
    return stability(tiny_task, runs[0], samples=3, evaluator=evaluator)


def small() -> Stability:
    """Two blocks, worked out by hand below."""
    masks = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]]).bool()
    return Stability(masks, torch.tensor([0.4, 0.5, 0.9, 1.0]).double(), torch.tensor([2.0, 1.5, 0.5, 0.1]).double())


def test_every_number_of_open_blocks_has_its_masks(record: Stability) -> None:
    assert record.opened.tolist() == [0, *[1] * 3, *[2] * 3, *[3] * 3, 4]  # 1 4 6 4 1 masks there are, at most 3 are taken
    assert len(rows(record.masks)) == len(record.masks) == len(record.accuracy) == len(record.loss) == 11
    assert record.share.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_a_mask_has_the_score_of_its_variant(
    record: Stability, tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator
) -> None:
    for row in (1, 6, 9):
        alone = evaluator([Variant(runs[0].adapter, record.masks[row])])
        assert record.accuracy[row].item() == pytest.approx(alone.accuracy.item())
        assert record.loss[row].item() == pytest.approx(alone.loss.item(), rel=1e-5)
    with torch.no_grad():
        prediction = tiny_task.predict(tiny_task.load_base().eval(), tiny_task.test_batch)
    base = tiny_task.loss(prediction, tiny_task.test_batch).mean().item()
    assert record.loss[0].item() == pytest.approx(base, rel=1e-5)
    assert record.loss.unique().numel() == 11  # no mask stands for another


def test_all_masks_where_they_are_few(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> None:
    record = stability(tiny_task, runs[0], samples=6, evaluator=evaluator)
    assert len(rows(record.masks)) == len(record.masks) == 16


def test_the_seed_decides_and_the_global_state_stays(
    record: Stability, tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator
) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    again, other = (stability(tiny_task, runs[0], 3, seed, evaluator) for seed in (0, 1))
    assert torch.equal(torch_state, torch.get_rng_state()) and (numpy_state == np.random.get_state()[1]).all()
    assert torch.equal(again.masks, record.masks) and torch.equal(again.loss, record.loss)
    assert not torch.equal(other.masks, record.masks)


@pytest.mark.parametrize("n_blocks", [1, 4, 9, 70])
@pytest.mark.parametrize("samples", [1, 5, 83])
def test_masks_are_distinct_and_as_many_as_there_are(n_blocks: int, samples: int) -> None:
    for n_open in {0, 1, n_blocks // 2, n_blocks}:
        masks = masks_with(n_blocks, n_open, samples, np.random.default_rng(0))
        assert masks.shape == (min(samples, math.comb(n_blocks, n_open)), n_blocks) and masks.dtype == torch.bool
        assert len(rows(masks)) == len(masks) and (masks.sum(1) == n_open).all()


def test_every_mask_is_drawn_alike() -> None:
    rng = np.random.default_rng(0)
    drawn = [tuple(mask.tolist()) for _ in range(1500) for mask in masks_with(4, 2, 2, rng)]
    counts = [drawn.count(mask) for mask in set(drawn)]
    assert len(counts) == 6 and sum(counts) == 3000
    assert sum((count - 500) ** 2 / 500 for count in counts) < 20.5  # chi-squared, 5 degrees of freedom, 0.1%


def test_spread_by_hand() -> None:
    expected = {"mean": [0.4, 0.7, 1.0], "std": [0, 0.2, 0], "min": [0.4, 0.5, 1.0], "max": [0.4, 0.9, 1.0]}
    spread = small().spread()
    assert spread.keys() == expected.keys()
    for name, values in expected.items():
        assert spread[name].tolist() == pytest.approx(values), name
    assert small().spread("loss")["mean"].tolist() == pytest.approx([2, 1, 0.1])


def test_frame() -> None:
    frame = small().frame()
    assert list(frame) == [
        "open", "share", "masks", "accuracy_mean", "accuracy_std", "accuracy_min", "accuracy_max", "loss_mean", "loss_std",
    ]  # fmt: skip
    assert frame.loc[1].tolist() == pytest.approx([1, 0.5, 2, 0.7, 0.2, 0.5, 0.9, 1.0, 0.5])
    assert frame["open"].tolist() == [0, 1, 2] and frame["masks"].tolist() == [1, 2, 1]


def test_pooled_runs_count_all_masks() -> None:
    shifted = replace(small(), accuracy=small().accuracy - 0.2)
    pooled = pool([small(), shifted])
    assert pooled.opened.tolist() == [0, 1, 1, 2] * 2
    spread = pooled.spread()
    assert spread["mean"].tolist() == pytest.approx([0.3, 0.6, 0.9])
    assert spread["min"].tolist() == pytest.approx([0.2, 0.3, 0.8]) and spread["max"].tolist() == pytest.approx([0.4, 0.9, 1.0])
    assert spread["std"].tolist() == pytest.approx([0.1, math.sqrt(0.05), 0.1])  # 0.5 0.9 0.3 0.7 around 0.6


def test_pool_refuses_what_does_not_fit() -> None:
    one_block = Stability(torch.tensor([[False], [True]]), torch.ones(2).double(), torch.ones(2).double())
    with pytest.raises(ValueError, match=r"all of the same number of blocks; found \[1, 2\]"):
        pool([small(), one_block])
    with pytest.raises(ValueError, match=r"at least one record"):
        pool([])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda task, run: stability(task, run, samples=0), "samples=0: must be a whole number, at least 1"),
        (lambda task, run: stability(task, run, samples=2.5), "samples=2.5: must be a whole number"),
        (lambda task, run: stability(task, run, seed=-1), "seed=-1: must be a whole number"),
        (lambda task, run: stability(task, replace(run, base="another")), "run was trained on another base model"),
    ],
)
def test_bad_input_is_refused(
    tiny_task: Task, runs: tuple[Run, Run], call: Callable[[Task, Run], Stability], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(tiny_task, runs[0])
