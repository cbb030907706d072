from __future__ import annotations

import pytest
import torch

from coto_lab import Run
from coto_lab.probes.gradients import gradient_share


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
