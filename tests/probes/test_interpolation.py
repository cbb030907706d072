from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from coto_lab import Evaluator, Run, Task, Variant, fit, interpolate, merge
from coto_lab.probes.interpolation import Curve, line, mixtures


def curve(accuracy: list[float], loss: list[float], alphas: list[float]) -> Curve:
    return Curve(*(torch.tensor(values, dtype=torch.float64) for values in (alphas, accuracy, loss)), how="fuse")


@pytest.mark.parametrize("how", ["fuse", "ensemble"])
def test_the_ends_are_the_two_runs(tiny_task: Task, evaluator: Evaluator, runs: tuple[Run, Run], how: str) -> None:
    between = interpolate(tiny_task, *runs, alphas=5, how=how, evaluator=evaluator)
    own = evaluator([Variant(run.adapter) for run in runs])
    assert between.alphas.tolist() == [0, 0.25, 0.5, 0.75, 1] and between.how == how
    for scores, expected in ((between.loss, own.loss), (between.accuracy, own.accuracy)):
        torch.testing.assert_close(scores[[0, -1]], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ["fuse", "ensemble"])
def test_in_between_are_the_merged_adapters(tiny_task: Task, runs: tuple[Run, Run], how: str) -> None:
    between = interpolate(tiny_task, *runs, alphas=[0, 0.3, 1], how=how)
    merged = merge([run.adapter for run in runs], how, [0.7, 0.3])
    expected = Evaluator(tiny_task)([Variant(merged)])
    assert between.loss[1] == expected.loss[0] and between.accuracy[1] == expected.accuracy[0]


@pytest.mark.parametrize("how", ["fuse", "ensemble"])
def test_mixtures_of_any_number_of_runs(runs: tuple[Run, Run], how: str) -> None:
    weights = torch.tensor([[1, 0, 0], [0.2, 0.3, 0.5]])
    three = [*runs, runs[0]]
    for variant, row, name in zip(mixtures(three, weights, how), weights.tolist(), ("1:0:0", "0.2:0.3:0.5"), strict=True):
        expected = merge(three, how, row)
        assert variant.name == name and variant.mask is None and variant.adapter.config == expected.config
        assert all(torch.equal(tensor, expected.tensors[key]) for key, tensor in variant.adapter.tensors.items())
    assert line(torch.tensor([0, 0.25, 1])).tolist() == [[1, 0], [0.75, 0.25], [0, 1]]


def test_fuse_and_ensemble_differ_in_between_only(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> None:
    fuse, ensemble = (interpolate(tiny_task, *runs, alphas=3, how=how, evaluator=evaluator) for how in ("fuse", "ensemble"))
    assert abs(fuse.loss[1] - ensemble.loss[1]) > 1e-6
    torch.testing.assert_close(fuse.loss[[0, 2]], ensemble.loss[[0, 2]], rtol=1e-5, atol=1e-6)


def test_barriers_are_the_worst_excess_over_the_straight_line() -> None:
    # At alpha 1/4 the line is 1.5 and 0.85; the excess there is 0.7 and 0.15; at 1/2 it is 1.0 and 0.2.
    bumpy = curve(accuracy=[0.9, 0.7, 0.6, 0.7], loss=[1.0, 2.2, 3.0, 3.0], alphas=[0, 0.25, 0.5, 1])
    assert bumpy.barrier == pytest.approx(1.0)
    assert bumpy.accuracy_barrier == pytest.approx(0.2)
    assert bumpy.frame().to_dict("list") == {
        "alphas": [0, 0.25, 0.5, 1],
        "accuracy": [0.9, 0.7, 0.6, 0.7],
        "loss": [1.0, 2.2, 3.0, 3.0],
    }


def test_a_valley_is_no_barrier() -> None:
    valley = curve(accuracy=[0.5, 0.9, 0.6], loss=[2.0, 0.5, 1.5], alphas=[0, 0.5, 1])
    assert valley.barrier == 0 and valley.accuracy_barrier == 0


def test_a_run_of_another_base_is_refused(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    stranger = replace(runs[1], base="another base")
    for pair, name in (((stranger, runs[0]), "run_a"), ((runs[0], stranger), "run_b")):
        with pytest.raises(ValueError, match=rf"{name} was trained on another base model .*than task .* has"):
            interpolate(tiny_task, *pair)


def test_a_run_of_another_task_is_refused(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    stranger = replace(runs[1], task="letters")
    for pair, name in (((stranger, runs[0]), "run_a"), ((runs[0], stranger), "run_b")):
        with pytest.raises(ValueError, match=rf"{name} was trained on task 'letters', not on 'tiny'"):
            interpolate(tiny_task, *pair)


def test_different_ranks_fuse_not_but_ensemble(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> None:
    other = fit(tiny_task, replace(runs[0].recipe, r=3), progress=False)
    with pytest.raises(ValueError, match="r is 2 in adapter 0 and 3 in adapter 1"):
        interpolate(tiny_task, runs[0], other)
    line = interpolate(tiny_task, runs[0], other, alphas=2, how="ensemble", evaluator=evaluator)
    assert line.loss[1].item() == pytest.approx(evaluator([Variant(other.adapter)]).loss.item(), rel=1e-5)


def test_numbers_of_numpy_will_do(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> None:
    for alphas in (np.int64(3), np.linspace(0, 1, 3)):
        assert interpolate(tiny_task, *runs, alphas=alphas, evaluator=evaluator).alphas.tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("alphas", [[-0.5, 0, 1], [0, 1, 1.5], [0, 0.5, 2]])
def test_alphas_beyond_the_runs_are_refused(tiny_task: Task, runs: tuple[Run, Run], alphas: list[float]) -> None:
    with pytest.raises(ValueError, match=r"alphas=\[.*must lie in \[0, 1\]"):
        interpolate(tiny_task, *runs, alphas=alphas)


@pytest.mark.parametrize(
    "alphas", [1, 0, True, 0.5, [], [0.5], [0, 0.5], [0.1, 1], [0, 0.7, 0.3, 1], [0, 0, 1], [0, np.nan, 1]]
)
def test_bad_alphas_are_refused(tiny_task: Task, runs: tuple[Run, Run], alphas: object) -> None:
    with pytest.raises(ValueError, match=r"alphas=.*must (be a whole number|rise)"):
        interpolate(tiny_task, *runs, alphas=alphas)


def test_an_unknown_kind_of_mixture_is_refused(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    with pytest.raises(ValueError, match="how='linear': must be 'fuse'"):
        interpolate(tiny_task, *runs, how="linear")
