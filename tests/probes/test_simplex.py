from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from coto_lab import Evaluator, Run, Task, Variant, fit, interpolate, merge
from coto_lab.probes.simplex import Simplex, barycentric_grid, simplex


@pytest.fixture(scope="module")
def three(tiny_task: Task, runs: tuple[Run, Run]) -> tuple[Run, Run, Run]:
    return *runs, fit(tiny_task, replace(runs[0].recipe, seed=2), progress=False)


def record(weights: torch.Tensor, accuracy: list[float], loss: list[float]) -> Simplex:
    columns = (torch.tensor(values, dtype=torch.float64) for values in (accuracy, loss))
    return Simplex(weights, *columns, how="fuse", corners=("a", "b", "c"))


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10])
def test_the_grid_holds_every_mixture_once(steps: int) -> None:
    grid = barycentric_grid(steps)
    assert grid.dtype == torch.float64 and len(grid.unique(dim=0)) == len(grid) == (steps + 1) * (steps + 2) // 2
    assert (grid >= 0).all()
    torch.testing.assert_close(grid.sum(1), torch.ones(len(grid), dtype=torch.float64))
    torch.testing.assert_close(grid * steps, (grid * steps).round())


@pytest.mark.parametrize("how", ["fuse", "ensemble"])
def test_every_point_is_a_merged_adapter(tiny_task: Task, three: tuple[Run, Run, Run], evaluator: Evaluator, how: str) -> None:
    triangle = simplex(tiny_task, three, steps=3, how=how, evaluator=evaluator)
    assert triangle.how == how and triangle.corners == ("seed 0", "seed 1", "seed 2")
    shares = [(i / 3, j / 3, (3 - i - j) / 3) for i in range(4) for j in range(4 - i)]
    expected = evaluator([Variant(merge(three, how, share)) for share in shares])
    rows = [triangle.weights.tolist().index(list(share)) for share in shares]
    torch.testing.assert_close(triangle.loss[rows], expected.loss, rtol=1e-6, atol=1e-7)
    assert triangle.accuracy[rows].tolist() == expected.accuracy.tolist()
    assert len(set(triangle.loss.tolist())) == 10


def test_an_edge_is_the_line_between_two_runs(tiny_task: Task, three: tuple[Run, Run, Run], evaluator: Evaluator) -> None:
    triangle = simplex(tiny_task, three, steps=np.int64(4), evaluator=evaluator)
    edge = triangle.loss[triangle.weights[:, 1] == 0]  # the first falls from 1, so from run 0 to run 2
    line = interpolate(tiny_task, three[0], three[2], alphas=5, evaluator=evaluator)
    torch.testing.assert_close(edge, line.loss, rtol=1e-5, atol=1e-6)
    assert triangle.centre is None


def test_barriers_are_the_worst_excess_over_the_plane() -> None:
    # Corners 1, 2, 3 in loss; the rows of steps=2 are 200 110 101 020 011 002, where the plane is 1 1.5 2 2 2.5 3.
    grid = barycentric_grid(2)
    bumpy = record(grid, accuracy=[0.9, 0.5, 0.8, 0.7, 0.6, 0.5], loss=[1, 1.7, 2.9, 2, 2.6, 3])
    assert bumpy.barrier == pytest.approx(0.9)
    assert bumpy.accuracy_barrier == pytest.approx(0.8 - 0.5)
    shuffled = torch.tensor([4, 1, 5, 2, 0, 3])
    other = Simplex(grid[shuffled], bumpy.accuracy[shuffled], bumpy.loss[shuffled], "fuse", bumpy.corners)
    assert other.barrier == pytest.approx(0.9) and other.accuracy_barrier == pytest.approx(0.3)
    valley = record(grid, accuracy=[0.5, 0.9, 0.9, 0.5, 0.9, 0.5], loss=[1, 0.1, 0.1, 1, 0.1, 1])
    assert valley.barrier == 0 and valley.accuracy_barrier == 0


@pytest.mark.parametrize("steps", range(1, 13))
def test_the_centre_is_the_even_mixture(steps: int) -> None:
    grid = barycentric_grid(steps)
    centre = record(grid, [0.5] * len(grid), [1] * len(grid)).centre
    if steps % 3:
        assert centre is None
    else:
        assert centre is not None and grid[centre].tolist() == [1 / 3] * 3


def test_frame_has_one_row_per_mixture() -> None:
    frame = record(barycentric_grid(1), accuracy=[0.9, 0.8, 0.7], loss=[1, 2, 3]).frame()
    assert frame.to_dict("list") == {
        "w1": [1, 0, 0], "w2": [0, 1, 0], "w3": [0, 0, 1], "accuracy": [0.9, 0.8, 0.7], "loss": [1, 2, 3],
    }  # fmt: skip


def test_bad_input_is_refused(tiny_task: Task, three: tuple[Run, Run, Run]) -> None:
    with pytest.raises(ValueError, match="how='linear': must be 'fuse'"):
        simplex(tiny_task, three, how="linear")
    for n in (0, 2, 4):
        with pytest.raises(ValueError, match=f"runs has {n} runs: .* exactly 3"):
            simplex(tiny_task, [three[0]] * n)
    for steps in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="steps="):
            simplex(tiny_task, three, steps=steps)
    for stranger, problem in (
        (replace(three[0], base="other"), "base model"),
        (replace(three[0], task="other"), "task 'other'"),
    ):
        with pytest.raises(ValueError, match=rf"runs\[2\] was trained on .*{problem}"):
            simplex(tiny_task, (*three[:2], stranger))
