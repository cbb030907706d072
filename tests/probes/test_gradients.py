from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from coto_lab import Run
from coto_lab.probes.gradients import PER, gradient_balance, gradient_share
from coto_lab.training.history import History, Step


def test_shares_of_every_bin_add_up_to_1(runs: tuple[Run, Run]) -> None:
    share = gradient_share(runs[0].history.grad_norm, total_steps=16, bins=5)
    assert share.shape == (4, 5) and share.dtype == torch.float32
    torch.testing.assert_close(share.sum(0), torch.ones(5))
    assert (share >= 0).all()


def test_a_share_is_that_of_the_summed_norms() -> None:
    norms = torch.tensor([[1.0, 3.0], [3.0, 1.0], [0.0, 2.0], [6.0, 0.0]])
    expected = torch.tensor([[0.5, 0.75], [0.5, 0.25]])
    torch.testing.assert_close(gradient_share(norms, total_steps=4, bins=2), expected)


def test_bins_to_come_are_nan() -> None:
    share = gradient_share(torch.ones(5, 3), total_steps=16, bins=8)
    assert share[:, :3].isfinite().all() and share[:, 3:].isnan().all()
    assert gradient_share(torch.zeros(0, 3), total_steps=16, bins=8).isnan().all()


def test_bins_divide_the_steps_evenly() -> None:
    norms = torch.eye(10)  # in step t only gate t has a gradient
    share = gradient_share(norms, total_steps=10, bins=4)
    assert [(column > 0).nonzero().flatten().tolist() for column in share.T] == [[0, 1, 2], [3, 4], [5, 6, 7], [8, 9]]


def test_never_more_bins_than_steps() -> None:
    assert gradient_share(torch.ones(3, 2), total_steps=3, bins=40).shape == (2, 3)


@pytest.mark.parametrize(("steps", "total", "bins"), [(3, 3, 0), (4, 3, 2)])
def test_bad_input_is_refused(steps: int, total: int, bins: int) -> None:
    with pytest.raises(ValueError, match=rf"bins={bins} must be at least 1, and {steps} records at most total_steps={total}"):
        gradient_share(torch.ones(steps, 2), total, bins)


def history_of(norms: list[list[float]]) -> History:
    """Gates of one module each, open where the norm is not 0."""
    norm = torch.tensor(norms)
    steps = [Step(t, 1.0, 0.1, 1.0, row > 0, row, row, 0.01) for t, row in enumerate(norm)]
    names = tuple(f"layers.{i}" for i in range(norm.shape[1]))
    return History.from_steps(steps, names, names, torch.arange(len(names)))


# Block 1 has the larger gradient whenever it is open, which is half as often.
UNEVEN = [[1.0, 0.0], [1.0, 3.0], [1.0, 0.0], [3.0, 3.0]]


def test_balance_per_step_is_the_gradient_share() -> None:
    history = history_of(UNEVEN)
    balance = gradient_balance(history, bins=2)
    torch.testing.assert_close(balance.share, torch.tensor([[2 / 5, 4 / 7], [3 / 5, 3 / 7]]))
    torch.testing.assert_close(balance.share, gradient_share(history.grad_norm, 4, 2))
    torch.testing.assert_close(balance.overall, torch.tensor([0.5, 0.5]))
    assert balance.entropy == pytest.approx(1) and balance.per == "step" and balance.blocks == history.gates


def test_balance_per_open_step_leaves_out_how_often_a_block_was_open() -> None:
    balance = gradient_balance(history_of(UNEVEN), bins=2, per="open step")
    torch.testing.assert_close(balance.share, torch.tensor([[1 / 4, 2 / 5], [3 / 4, 3 / 5]]))
    torch.testing.assert_close(balance.overall, torch.tensor([1.5, 3.0]) / 4.5)


def test_a_bin_in_which_a_block_was_never_open_is_unknown_per_open_step() -> None:
    balance = gradient_balance(history_of(UNEVEN), bins=4, per="open step")
    assert balance.share.isnan().all(0).tolist() == balance.entropy_over_time.isnan().tolist() == [True, False, True, False]
    assert balance.overall.isfinite().all()


def test_where_every_block_is_open_the_two_agree() -> None:
    history = history_of((torch.rand(12, 3, generator=torch.Generator().manual_seed(0)) + 0.1).tolist())
    step, opened = (gradient_balance(history, bins=4, per=per) for per in PER)
    torch.testing.assert_close(step.share, opened.share)
    torch.testing.assert_close(step.overall, opened.overall)


@pytest.mark.parametrize("shares", [[1.0, 0, 0], [1.0, 1, 1], [0.5, 0.25, 0.25]])
def test_entropy_is_that_of_scipy_over_its_maximum(shares: list[float]) -> None:
    balance = gradient_balance(history_of([shares] * 2), bins=2)
    expected = entropy(shares, base=3)
    assert balance.entropy == pytest.approx(expected, abs=1e-6)
    assert balance.entropy_over_time.tolist() == pytest.approx([expected] * 2, abs=1e-6)


def test_entropy_of_one_block_is_not_defined() -> None:
    assert math.isnan(gradient_balance(history_of([[1.0]])).entropy)


def test_frame_has_a_row_per_block_and_bin(runs: tuple[Run, Run]) -> None:
    balance = gradient_balance(runs[0].history, bins=5)
    frame = balance.frame()
    assert list(frame.columns) == ["block", "start", "end", "share"] and len(frame) == 4 * 5
    second = frame[frame["block"] == balance.blocks[1]]
    assert second["start"].tolist() == [0, 4, 7, 10, 13] and second["end"].tolist() == [4, 7, 10, 13, 16]
    np.testing.assert_array_equal(second["share"], balance.share[1])


@pytest.mark.parametrize(("total", "bins"), [(10, 4), (16, 5), (7, 7), (9, 1), (3, 40)])
def test_edges_are_the_first_steps_of_the_bins(total: int, bins: int) -> None:
    edges = gradient_balance(history_of([[1.0, 1.0]] * total), bins=bins).edges.tolist()
    starts = [t for t in range(total) if t == 0 or t * min(bins, total) // total != (t - 1) * min(bins, total) // total]
    assert edges == [*starts, total]


def test_bins_to_come_are_unknown_and_do_not_count() -> None:
    half, whole = gradient_balance(history_of(UNEVEN), total_steps=8, bins=4), gradient_balance(history_of(UNEVEN), bins=2)
    torch.testing.assert_close(half.share[:, :2], whole.share)
    assert half.share[:, 2:].isnan().all() and half.edges.tolist() == [0, 2, 4, 6, 8]
    torch.testing.assert_close(half.overall, whole.overall)


@pytest.mark.parametrize(
    ("norms", "arguments", "message"),
    [
        (UNEVEN, {"per": "epoch"}, r"per='epoch': must be one of 'step', 'open step'"),
        (UNEVEN, {"bins": 0}, "bins=0 must be at least 1"),
        (UNEVEN, {"total_steps": 3}, "4 records at most total_steps=3"),
        ([], {}, "history is empty"),
    ],
)
def test_a_bad_balance_is_refused(norms: list[list[float]], arguments: dict[str, object], message: str) -> None:
    history = history_of(norms) if norms else History.from_steps([], ("a",), ("a",), torch.zeros(1, dtype=torch.long))
    with pytest.raises(ValueError, match=message):
        gradient_balance(history, **arguments)
