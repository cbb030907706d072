"""Gradient balance: which blocks get the gradient, and when in the training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from coto_lab.training.history import History

if TYPE_CHECKING:
    import pandas as pd

PER = ("step", "open step")


@dataclass(frozen=True, eq=False)
class GradientBalance:
    """Each block's share of the gradient norm, in bins of steps and over the whole training.

    Attributes:
        blocks: names of the n blocks (the gates).
        edges: the first step of each bin, and at the end the number of training steps, int64 ``[bins + 1]``.
        share: float32 ``[n_blocks, bins]``; the shares of a bin add up to 1, or are NaN if they are not known.
        overall: the share over the whole training, float32 ``[n_blocks]``.
        per: ``"step"`` or ``"open step"``, see `gradient_balance`.
    """

    blocks: tuple[str, ...]
    edges: Int64[Tensor, " edges"]
    share: Float32[Tensor, "n_blocks bins"]
    overall: Float32[Tensor, " n_blocks"]
    per: str

    @property
    def entropy(self) -> float:
        """How even the blocks' shares s over the whole training are: -Σ s log s / log n. 1 = all equal, 0 = all in one block.

        With one block only the result is NaN. Source: Shannon's entropy over its maximum (Pielou's evenness, 1966).
        """
        return _entropy(self.overall).item()

    @property
    def entropy_over_time(self) -> Float32[Tensor, " bins"]:
        """The entropy of the shares in every bin, float32 ``[bins]``; NaN in bins with unknown shares."""
        return _entropy(self.share)

    def frame(self) -> pd.DataFrame:
        """One row per block and bin: block, start and end (the steps from start to end - 1), share."""
        import pandas as pd

        n, bins = self.share.shape
        return pd.DataFrame(
            {
                "block": [block for block in self.blocks for _ in range(bins)],
                "start": self.edges[:-1].repeat(n).numpy(),
                "end": self.edges[1:].repeat(n).numpy(),
                "share": self.share.flatten().numpy(),
            }
        )


def gradient_balance(history: History, total_steps: int | None = None, bins: int = 40, per: str = "step") -> GradientBalance:
    """Each block's share of the gradient norm during a training.

    A dropped block has no gradient in that step, so its norm counts as 0. With ``per="step"`` a block's share therefore
    depends on two things: how large its gradient is, and how often the block was open. With ``per="open step"`` it depends
    only on the size: a block's norms are averaged over the steps in which the block was open, and the shares are computed
    from these means. A bin in which a block was never open then contains no information about this block, so all shares of
    that bin are NaN.

    Neither share measures the size of an update, because AdamW divides every entry of the gradient by its own usual size.

    Args:
        history: the history of a run, or of the steps so far.
        total_steps: steps of the whole training, which the bins divide evenly; by default the number of steps in ``history``.
        bins: the number of bins; there are never more bins than steps.
        per: ``"step"`` or ``"open step"``.

    Raises:
        ValueError: ``per`` is unknown, ``bins`` is below 1, or ``history`` has no steps or more than ``total_steps``.

    Source: our own measure of what arXiv:2506.05713 calls balanced optimisation; the paper looks at updates and Shapley
    values.
    """
    if per not in PER:
        raise ValueError(f"per={per!r}: must be one of {', '.join(map(repr, PER))}.")
    if not len(history):
        raise ValueError("history is empty: there are no gradients before the first step.")
    total_steps = len(history) if total_steps is None else total_steps
    norms, opened = history.grad_norm, history.mask
    parts = []
    for n_bins in (bins, 1):
        sums = _bin_sums(norms, total_steps, n_bins)
        if per == "open step":
            sums = sums / _bin_sums(opened, total_steps, n_bins)  # 0 / 0 = NaN for a block that was never open
        parts.append(_shares(sums))
    n_bins = parts[0].shape[1]
    edges = -(-torch.arange(n_bins + 1) * total_steps // n_bins)  # the first t with t * bins // total_steps = its bin
    return GradientBalance(history.gates, edges, parts[0], parts[1][:, 0], per)


def gradient_share(grad_norm: Float[Tensor, "T n_gates"], total_steps: int, bins: int = 40) -> Float32[Tensor, "n_gates bins"]:
    """Each block's share of the gradient norm in bins of steps: float32 ``[n_gates, bins]``.

    A block's norms are summed over the steps of a bin and divided by the sum over all blocks, so steps with large gradients
    weigh more. In every bin the shares add up to 1; in bins without a step they are NaN. Even shares are 1 / n_gates.

    Args:
        grad_norm: gradient norm per gate, ``[T, n_gates]``, T at most ``total_steps`` (`History.grad_norm`).
        total_steps: steps of the whole training, which the bins divide evenly.
        bins: the number of bins.

    Raises:
        ValueError: ``bins`` is below 1, or there are more records than ``total_steps``.

    Source: our own measure of what arXiv:2506.05713 calls balanced optimisation; the paper looks at updates and Shapley
    values.
    """
    return _shares(_bin_sums(grad_norm, total_steps, bins))


def _bin_sums(values: Tensor, total_steps: int, bins: int) -> Tensor:
    """Sums over the steps of each bin: float32 ``[bins, n_gates]`` from ``[T, n_gates]``."""
    steps, n_gates = values.shape
    if bins < 1 or steps > total_steps:
        raise ValueError(f"bins={bins} must be at least 1, and {steps} records at most total_steps={total_steps}.")
    bins = min(bins, total_steps)
    bin_of_step = torch.arange(steps) * bins // total_steps
    return torch.zeros(bins, n_gates).index_add(0, bin_of_step, values.float())


def _shares(sums: Tensor) -> Tensor:
    return (sums / sums.sum(1, keepdim=True)).T  # 0 / 0 = NaN in bins without records


def _entropy(shares: Tensor) -> Tensor:
    """Entropy over the first dimension, normalised to [0, 1]; 0 · log 0 counts as 0."""
    return torch.special.entr(shares).sum(0) / math.log(len(shares)) if len(shares) > 1 else shares.sum(0) * math.nan
