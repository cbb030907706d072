"""Shapley values: how much each block's, or each module's, adapter contributes to what a run scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor

from coto_lab.ground.numbers import MAX_SEED, whole_number
from coto_lab.ground.randomness import OwnRandomNumbers
from coto_lab.scoring.evaluator import Evaluator, evaluator_for
from coto_lab.scoring.sources import Source, adapter_of
from coto_lab.scoring.variant import Variant
from coto_lab.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

AUTO_EXACT, MAX_EXACT = 12, 20  # players: up to which "auto" enumerates, and beyond which nothing does
_CHUNK = 4096  # variants in one call of the evaluator: all coalitions of 12 players; more would fill the memory with logits


@dataclass(frozen=True, eq=False)
class ShapleyValues:
    """What each of the n players contributes to the value of all together.

    Attributes:
        players: their names, blocks or modules.
        values: float64 ``[n]``, a share of right answers (``value="accuracy"``) or nats (``value="loss"``).
        value: ``"accuracy"`` or ``"loss"`` (reduction of the cross-entropy).
        method: ``"exact"``, ``"sampling"`` or ``"owen"``.
        v_empty: value of the empty coalition, the base model: its accuracy, or 0 nats; NaN where it was not measured (Owen).
            Of an adapter with new layers that were trained whole (``modules_to_save``), it is the base model with these.
        v_full: value of all players together; NaN where it was not measured.
        standard_error: of each value, float64 ``[n]``; None where the values are exact.
        blocks: the block that each player is on; None where the players are the blocks.
    """

    players: tuple[str, ...]
    values: Float[Tensor, " n"]
    value: str
    method: str
    v_empty: float
    v_full: float
    standard_error: Float[Tensor, " n"] | None = None
    blocks: tuple[str, ...] | None = None

    @property
    def spread(self) -> float:
        """How unevenly the values are spread: their coefficient of variation, standard deviation over mean (absolute).

        0 where all players contribute the same, √(n - 1) where one does everything; negative values only add to it. Infinite
        or NaN where the values sum to 0.
        """
        return (self.values.std(correction=0) / self.values.mean().abs()).item()

    def frame(self) -> pd.DataFrame:
        """One row per player: player, shapley, and standard_error where there is one."""
        import pandas as pd

        errors = {} if self.standard_error is None else {"standard_error": self.standard_error.numpy()}
        return pd.DataFrame({"player": self.players, "shapley": self.values.numpy(), **errors})


def shapley(
    task: Task,
    run: Source,
    players: str = "block",
    value: str = "accuracy",
    method: str = "auto",
    samples: int = 100,
    seed: int = 0,
    evaluator: Evaluator | None = None,
) -> ShapleyValues:
    """Shapley values of a run's adapters, in the game that they play on the task's test set.

    A coalition R is scored with the adapters in R open and the others closed. Its value v(R) is the accuracy, or how far the
    cross-entropy is below that of the base model, v(R) = loss(∅) - loss(R). The values of all players sum to v(all) - v(∅).
    New layers that were trained whole, such as a head (``modules_to_save``), are no players: they are in every coalition, so
    the empty one is the base model with the trained head.

    Args:
        task: the task that the run was trained on.
        run: the run or adapter, or its folder.
        players: ``"block"`` (all adapters of a block are one player) or ``"module"`` (every adapted layer).
        value: ``"accuracy"`` (share of right answers) or ``"loss"`` (nats).
        method: ``"exact"`` scores all 2^n coalitions, n at most 20; ``"sampling"`` averages the marginal contributions over
            random orders of the players; ``"auto"`` is exact up to 12 players.
        samples: random orders, at least 2; n coalitions each. The exact method takes no notice of it, nor of ``seed``.
        seed: decides the orders; the global random state is left untouched.
        evaluator: one to reuse. It gets each coalition once, at most 4096 in a call.

    Raises:
        ValueError: a run of another base; an unknown ``players``, ``value`` or ``method``; more than 20 players with
            ``method="exact"``; ``samples`` below 2.

    Source: arXiv:2506.05713, Shapley values of adapters; Shapley 1953. Sampling: Castro et al. 2009, captum's
    ``ShapleyValueSampling``.
    """
    adapter = adapter_of(task, run, "run")
    for name, chosen, choices in (
        ("players", players, ("block", "module")),
        ("value", value, ("accuracy", "loss")),
        ("method", method, ("auto", "exact", "sampling")),
    ):
        if chosen not in choices:
            raise ValueError(f"{name}={chosen!r}: must be one of {', '.join(map(repr, choices))}.")
    samples = whole_number("samples", samples, 2)
    seed = whole_number("seed", seed, 0, MAX_SEED)
    score = evaluator_for(task, evaluator)
    sites = score.sites(adapter)
    names = sites.names if players == "module" else sites.block_names
    n = len(names)
    if method == "exact" and n > MAX_EXACT:
        raise ValueError(
            f"method='exact' scores all 2^{n} coalitions of the {n} players ({players}s): {MAX_EXACT} players at most. "
            "Use method='sampling', the estimator."
        )

    def worth(coalitions: Bool[Tensor, "V n"]) -> Float[Tensor, " V"]:
        # Sorted, so that the coalitions of one call are alike in the lowest blocks, which an evaluator can share.
        distinct, position = coalitions.unique(dim=0, return_inverse=True)
        calls = [score([Variant(adapter, mask) for mask in chunk]) for chunk in distinct.split(_CHUNK)]
        worths = torch.cat([scores.accuracy if value == "accuracy" else -scores.loss for scores in calls])
        return worths[position]

    error = None
    if method == "exact" or (method == "auto" and n <= AUTO_EXACT):
        method = "exact"
        worths = worth(all_coalitions(n))
        values, v_empty, v_full = exact_shapley(worths), worths[0].item(), worths[-1].item()
    else:
        method = "sampling"
        marginals, v_empty, v_full = sample_marginals(worth, n, samples, seed)
        values, error = marginals.mean(0), marginals.std(0) / math.sqrt(samples)
    origin = v_empty if value == "loss" else 0.0
    blocks = sites.blocks if players == "module" else None
    return ShapleyValues(names, values, value, method, v_empty - origin, v_full - origin, error, blocks)


def all_coalitions(n: int) -> Bool[Tensor, "coalitions n"]:
    """All 2^n coalitions of n players; bit i of a coalition's index says whether player i is in."""
    return (torch.arange(2**n)[:, None] >> torch.arange(n) & 1).bool()


def exact_shapley(worths: Real[Tensor, " coalitions"]) -> Float[Tensor, " n"]:
    """Shapley values of a game of n players that is given in full: float64 ``[n]``.

    φ_i = Σ over the coalitions S without i of |S|! (n - |S| - 1)! / n! · (v(S ∪ i) - v(S)).

    Args:
        worths: v(S) of all coalitions, ``[2^n]``; bit i of a coalition's index says whether player i is in.

    Raises:
        ValueError: not a vector of 2^n numbers with n from 1 to 20.

    >>> exact_shapley(torch.tensor([0.0, 1.0, 2.0, 5.0])).tolist()  # two players, worth 1 and 2 alone, 5 together
    [2.0, 3.0]
    """
    n = worths.numel().bit_length() - 1
    if worths.shape != (2**n,) or not 1 <= n <= MAX_EXACT:
        raise ValueError(f"worths has shape {list(worths.shape)}: must be [2^n], n players, from 1 to {MAX_EXACT}.")
    worths = worths.double()
    weight = torch.tensor([1 / (n * math.comb(n - 1, size)) for size in range(n)], dtype=torch.float64)
    size = all_coalitions(n).sum(1)
    values = []
    for i in range(n):
        without, with_i = worths.view(-1, 2, 2**i).unbind(1)  # the middle dimension is bit i
        values.append((weight[size.view(-1, 2, 2**i)[:, 0]] * (with_i - without)).sum())
    return torch.stack(values)


def sample_marginals(
    worth: Callable[[Tensor], Tensor], n: int, samples: int, seed: int
) -> tuple[Float[Tensor, "{samples} {n}"], float, float]:
    """What each of n players adds to those before it, in random orders of the players.

    The mean over the orders is an unbiased estimate of the Shapley values. Captum walks through the orders twice: first only
    to find which coalitions it needs, so that ``worth`` is called once, with all of them.

    Args:
        worth: v of coalitions: float64 ``[V]`` for a ``BoolTensor [V, n]``, True = in; coalitions may come up repeatedly.
        n: players.
        samples: orders.
        seed: decides the orders.

    Returns:
        The marginal contributions, float64 ``[samples, n]`` (computed in float32), v of nobody, and v of everybody.

    Source: captum's ``ShapleyValueSampling``; Castro et al. 2009.
    """
    asked: list[Tensor] = []

    def ask(features: Tensor) -> Tensor:
        asked.append(features.bool())
        return torch.zeros(len(features))

    _walk(ask, n, samples, seed)
    worths = worth(torch.cat(asked))
    answers = iter(worths.split([len(coalitions) for coalitions in asked]))
    marginals = _walk(lambda _: next(answers), n, samples, seed)
    return marginals, worths[0].item(), worths[-1].item()  # it begins with the baseline, and every order ends with all


def _walk(forward: Callable[[Tensor], Tensor], n: int, samples: int, seed: int) -> Tensor:
    """Captum's attributions of one random order after another: float64 ``[samples, n]``."""
    from captum.attr import ShapleyValueSampling

    sampling = ShapleyValueSampling(forward)
    everybody = torch.ones(1, n)
    with OwnRandomNumbers(seed, torch.device("cpu")).active():  # captum draws from the global generator
        orders = [sampling.attribute(everybody, n_samples=1, perturbations_per_eval=n) for _ in range(samples)]
    return torch.cat(orders).double()
