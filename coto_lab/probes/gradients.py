"""Gradient balance: which blocks do the learning, and when."""

from __future__ import annotations

import torch
from torch import Tensor


def gradient_share(grad_norm: Tensor, total_steps: int, bins: int = 40) -> Tensor:
    """Each block's share of the gradient norm in bins of steps: float32 ``[n_gates, bins]``.

    A block's norms are summed over the steps of a bin and divided by the sum over all blocks, so steps with large gradients
    weigh more; in every bin the shares add up to 1, and bins without a step yet are NaN. Even shares are 1 / n_gates.

    Args:
        grad_norm: gradient norm per gate, ``[T, n_gates]``, T at most ``total_steps`` (`History.grad_norm`).
        total_steps: steps of the whole training, which the bins divide evenly.
        bins: how many.

    Raises:
        ValueError: ``bins`` below 1, or more records than ``total_steps``.

    Source: our own view of what arXiv:2506.05713 calls balanced optimisation; the paper looks at updates and Shapley values.
    """
    steps, n_gates = grad_norm.shape
    if bins < 1 or steps > total_steps:
        raise ValueError(f"bins={bins} must be at least 1, and {steps} records at most total_steps={total_steps}.")
    bins = min(bins, total_steps)
    bin_of_step = torch.arange(steps) * bins // total_steps
    sums = torch.zeros(bins, n_gates).index_add(0, bin_of_step, grad_norm.float())
    return (sums / sums.sum(1, keepdim=True)).T  # 0 / 0 = NaN where nothing was recorded
