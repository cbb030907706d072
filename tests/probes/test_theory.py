from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations, product

import pytest
import torch
from sklearn.metrics import log_loss
from tiny_models import vit

from coto_lab import Constant, Evaluator, Run, Task, Variant, fit, interpolate
from coto_lab.probes.theory import BarrierBound, JensenTable, barrier_bound, jensen


@pytest.fixture(scope="module")
def table(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> JensenTable:
    return jensen(tiny_task, runs[0], ps=[0, 0.3, 0.5, 0.9, 1], evaluator=evaluator)


@pytest.fixture(scope="module")
def three_runs(tiny_task: Task, runs: tuple[Run, Run]) -> list[Run]:
    return [*runs, fit(tiny_task, replace(runs[0].recipe, seed=2), progress=False)]


@pytest.fixture(scope="module")
def bound(tiny_task: Task, three_runs: list[Run], evaluator: Evaluator) -> BarrierBound:
    return barrier_bound(tiny_task, three_runs, alphas=3, evaluator=evaluator)


# Jensen


def test_both_sides_by_brute_force(table: JensenTable, tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> None:
    labels = tiny_task.test_batch["labels"].numpy()
    masks = list(product([False, True], repeat=4))
    scores = evaluator([Variant(runs[0].adapter, torch.tensor(mask)) for mask in masks], outputs=True)
    logits = dict(zip(masks, scores.logits.double(), strict=True))

    def loss(prediction: torch.Tensor) -> float:
        return float(log_loss(labels, prediction.softmax(1).numpy()))

    for row, p in enumerate([0, 0.3, 0.5, 0.9, 1]):
        expected = 0.0
        for mask, prediction in logits.items():
            probability = 1.0
            for is_open in mask:
                probability *= p if is_open else 1 - p
            expected += probability * loss(prediction)
        of_means = 0.0
        for j in range(5):
            group = [prediction for mask, prediction in logits.items() if sum(mask) == j]
            mean = sum(group, start=torch.zeros(45, 3).double()) / len(group)
            of_means += math.comb(4, j) * p**j * (1 - p) ** (4 - j) * loss(mean)
        assert table.expected_loss[row].item() == pytest.approx(expected, rel=1e-5)
        assert table.mean_prediction_loss[row].item() == pytest.approx(of_means, rel=1e-5)
        assert table.gap[row].item() == pytest.approx(expected - of_means, abs=1e-5)


def test_the_ends_are_the_base_and_the_whole_adapter(
    table: JensenTable, tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator
) -> None:
    base, whole = evaluator([Variant(runs[0].adapter, torch.zeros(4, dtype=torch.bool)), Variant(runs[0].adapter)]).loss
    for side in (table.expected_loss, table.mean_prediction_loss):
        assert side[[0, -1]].tolist() == pytest.approx([base.item(), whole.item()], rel=1e-5)
    assert table.whole_loss == pytest.approx(whole.item(), rel=1e-5)
    assert table.gap[[0, -1]].tolist() == pytest.approx([0, 0], abs=1e-12)


def test_the_theorem_holds_at_every_p(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> None:
    for run in runs:
        table = jensen(tiny_task, run, evaluator=evaluator)
        assert table.p.tolist() == pytest.approx([i / 20 for i in range(21)])
        assert (table.gap >= -1e-12).all() and (table.gap[1:-1] > 1e-6).all()


def test_weights_are_binomial() -> None:
    table = JensenTable(torch.tensor([0, 0.25, 1]).double(), torch.zeros(4).double(), torch.zeros(4).double())
    expected = [[1, 0, 0, 0], [27 / 64, 27 / 64, 9 / 64, 1 / 64], [0, 0, 0, 1]]
    torch.testing.assert_close(table.weights, torch.tensor(expected).double())


def test_jensen_frame(table: JensenTable) -> None:
    frame = table.frame()
    assert list(frame) == ["p", "expected_loss", "mean_prediction_loss", "gap", "whole_loss"]
    assert frame["gap"].tolist() == table.gap.tolist() and set(frame["whole_loss"]) == {table.whole_loss}


@pytest.mark.parametrize("ps", [1, 2.5, True, [], [-0.1, 0.5], [0.5, 1.1], [float("nan")]])
def test_probabilities_out_of_range_are_refused(tiny_task: Task, runs: tuple[Run, Run], ps: object) -> None:
    with pytest.raises(ValueError, match="ps="):
        jensen(tiny_task, runs[0], ps=ps)


def test_jensen_refuses_another_base_and_too_many_blocks(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    with pytest.raises(ValueError, match="run was trained on another base model"):
        jensen(tiny_task, replace(runs[0], base="another"))
    deep = replace(tiny_task, load_base=_deep_vit)
    run = fit(deep, replace(runs[0].recipe, steps=1), progress=False)
    with pytest.raises(ValueError, match=r"adapters on 13 blocks, so 2\^13 masks; at most 12 .*stability\(\)"):
        jensen(deep, run)


def _deep_vit() -> torch.nn.Module:
    with torch.random.fork_rng():
        return vit(layers=13)


# Dropout stability and the barrier


def test_changes_and_barriers_by_brute_force(
    bound: BarrierBound, tiny_task: Task, three_runs: list[Run], evaluator: Evaluator
) -> None:
    masks = [torch.tensor(mask) for mask in product([False, True], repeat=4) if sum(mask) == 2]
    changes = []
    for run in three_runs:
        whole, *dropped = evaluator([Variant(run.adapter, mask) for mask in (None, *masks)]).loss.tolist()
        changes.append([loss - whole for loss in dropped])
    assert bound.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    for row, (a, b) in enumerate(combinations(range(3), 2)):
        both = changes[a] + changes[b]
        assert bound.mean_change[row].item() == pytest.approx(sum(both) / 12, rel=1e-4)
        assert bound.worst_change[row].item() == pytest.approx(max(both), rel=1e-4)
        for how in ("fuse", "ensemble"):
            curve = interpolate(tiny_task, three_runs[a], three_runs[b], 3, how, evaluator)
            assert bound.barriers[how][row].item() == pytest.approx(curve.barrier, rel=1e-4, abs=1e-6)


def test_of_an_odd_number_of_blocks_the_smaller_half_is_dropped(
    tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator
) -> None:
    three = replace(tiny_task, target_modules=tuple(f"layers.{i}.attention.q_proj" for i in range(3)))
    pair = [fit(three, replace(run.recipe, steps=4), progress=False) for run in runs]
    found = barrier_bound(three, pair, alphas=2, how=["fuse"])
    scores = Evaluator(three)([Variant(run.adapter, mask) for run in pair for mask in (None, *~torch.eye(3).bool())])
    loss = scores.loss.reshape(2, 4)
    assert found.worst_change.item() == pytest.approx((loss[:, 1:] - loss[:, :1]).max().item(), rel=1e-4)
    assert found.barriers.keys() == {"fuse"}


def test_a_sample_of_the_masks(bound: BarrierBound, tiny_task: Task, three_runs: list[Run], evaluator: Evaluator) -> None:
    one, again, other = (
        barrier_bound(tiny_task, three_runs, alphas=2, how=[], samples=1, seed=seed, evaluator=evaluator) for seed in (0, 0, 1)
    )
    assert one.worst_change.tolist() == again.worst_change.tolist() != other.worst_change.tolist()
    assert (one.worst_change <= bound.worst_change + 1e-6).all()


def test_bound_frame() -> None:
    change, barrier = torch.tensor([0.5, 0.5]).double(), torch.tensor([0.25, 0.75]).double()
    frame = BarrierBound(torch.tensor([[0, 1], [0, 2]]), change / 2, change, {"fuse": barrier}).frame()
    assert frame.to_dict("list") == {
        "run_a": [0, 0], "run_b": [1, 2], "mean_change": [0.25, 0.25], "worst_change": [0.5, 0.5],
        "barrier_fuse": [0.25, 0.75], "within_fuse": [True, False],
    }  # fmt: skip


def test_bound_refuses_bad_input(tiny_task: Task, three_runs: list[Run], evaluator: Evaluator) -> None:
    with pytest.raises(ValueError, match="runs holds 1: a barrier lies between two runs"):
        barrier_bound(tiny_task, three_runs[:1])
    with pytest.raises(ValueError, match=r"runs\[1\] was trained on another base model"):
        barrier_bound(tiny_task, [three_runs[0], replace(three_runs[1], base="another")])
    with pytest.raises(ValueError, match="samples=0: must be a whole number"):
        barrier_bound(tiny_task, three_runs, samples=0)
    with pytest.raises(ValueError, match="how='linear'"):
        barrier_bound(tiny_task, three_runs, how=["linear"], evaluator=evaluator)
    one = replace(tiny_task, target_modules=("layers.0.attention.q_proj",))
    recipe = replace(three_runs[0].recipe, steps=1, schedule=Constant())
    with pytest.raises(ValueError, match="one block only: there is no half to drop"):
        barrier_bound(one, [fit(one, recipe, progress=False)] * 2)
