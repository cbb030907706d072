"""The exercises of the notebook on merging tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.exercises._compare import as_numbers, mistake
from coto_lab.exercises._exercise import exercise
from coto_lab.merging.magnitude import largest
from coto_lab.merging.ties import Ties


@exercise("This is what TIES makes of the two updates.")
def check_ties(my_merged: Any, updates: Float[Tensor, "2 out in"], density: float = 0.5) -> list[str]:
    """Check a TIES merge of two updates, with weights of 1, done by hand.

    Args:
        my_merged: the answer, as rows of numbers.
        updates: what is merged.
        density: share of the entries of each update that stay.
    """
    ones, kept = torch.ones(2), torch.stack([largest(update, density) for update in updates])
    agreeing = kept * (kept.sign() == kept.sum(0).sign())
    right = Ties(density).combine(updates, ones, 0)
    likely = {
        "nothing was trimmed: first set the smaller entries of each update to 0": Ties(1.0).combine(updates, ones, 0),
        "this is the mean of all entries, whatever their sign: leave out those that lost the vote": kept.mean(0),
        "this is the mean of all entries that were kept: leave out those that lost the vote": _mean_of_nonzero(kept),
        "this is a sum: take the mean of the entries that agree": agreeing.sum(0),
        "every entry was divided by 2: divide by the number of entries that are left": agreeing.mean(0),
        "the other sign was elected: take the one with the larger total": kept.sum(0) - agreeing.sum(0),
    }
    answer = _rows(my_merged, right.shape)
    if answer is None:
        return [f"my_merged should be {right.shape[0]} rows of {right.shape[1]} numbers: a list of lists"]
    return mistake("my_merged", answer, right, likely, decimals=2)


@exercise("These are the cross terms.")
def check_cross_terms(
    my_cross_terms: Callable[..., Any], factors: Sequence[tuple[Float[Tensor, "r in"], Float[Tensor, "out r"]]]
) -> list[str]:
    """Check a function that computes the cross terms of a fusion.

    Args:
        my_cross_terms: called as ``my_cross_terms(A, B, weights)`` with lists of the n adapters' factors, A ``[r, in]`` and B
            ``[out, r]``, and n weights; returns a tensor ``[out, in]``.
        factors: of one module, A and B of each adapter, on which the function is tried with equal weights.
    """
    generator = torch.Generator().manual_seed(0)
    made = [
        (
            torch.randn(2, 4, generator=generator, dtype=torch.float64),
            torch.randn(3, 2, generator=generator, dtype=torch.float64),
        )
        for _ in range(3)
    ]
    for pairs, weights in ((made, [0.5, 0.3, 0.2]), (list(factors), [1 / len(factors)] * len(factors))):
        a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        answer = my_cross_terms(a, b, weights)
        shape = (len(b[0]), a[0].shape[1])
        if not isinstance(answer, Tensor) or tuple(answer.shape) != shape:
            found = f"a tensor {list(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
            return [f"my_cross_terms returns {found}; it should return a tensor {list(shape)}, of the shape of a product B @ A"]
        terms = _terms(a, b, weights)
        own = sum(terms[i, i] for i in range(len(a)))
        whole = sum(terms.values())
        first = sum(term for (i, j), term in terms.items() if i < j)
        plain = sum(b[i] @ a[j] for i, j in terms if i != j)
        shares = sum(w * b[i] @ a[i] for i, w in enumerate(weights))
        likely = {
            "this is the whole fusion: subtract the adapters' own updates": whole,
            "these are the own updates: the cross terms are the rest": own,
            "the own updates were subtracted with the weights w: in a fusion they have w²": whole - shares,
            "only one half of the pairs is there: B₁A₂ and B₂A₁ are different terms": first,
            "the weights are missing: B of adapter i and A of adapter j have both their own": plain,
            "the sign is wrong: it is the fusion less the own updates": own - whole,
        }
        tolerance = 1e-5 * float(torch.as_tensor(whole).abs().max())
        answers = {"right": whole - own, **likely}
        named = next((n for n, value in answers.items() if bool((answer - value).abs().max() <= tolerance)), None)
        if named != "right":
            return [f"not right yet: {named or 'multiply (Σ wᵢBᵢ)(Σ wᵢAᵢ) out, and leave out the terms with twice the same i'}"]
    return []


class Desk(Protocol):
    """What `check_mix` needs of a mixing desk.

    Attributes:
        faders: short name of a task -> its fader.
    """

    faders: Mapping[str, Any]

    def score(self, faders: Sequence[float]) -> Mapping[str, float]:
        """Accuracy on each task, in percent."""


@exercise("These tasks are above the bar.")
def check_mix(my_faders: Any, desk: Desk, tasks: Sequence[str], bar: float) -> list[str]:
    """Check that a mix keeps some tasks above a bar.

    Args:
        my_faders: the answer: one number for each fader, from the top of the desk to its end.
        desk: a `MixingDesk`; its rule, options, method and seed are taken as they are.
        tasks: the tasks that are to be above the bar.
        bar: accuracy in percent.
    """
    names = list(desk.faders)
    answers = as_numbers(my_faders, len(names))
    if answers is None:
        return [f"my_faders should be {len(names)} numbers, one for each of {', '.join(names)}"]
    found = desk.score(answers.tolist())
    return [f"{task}: {found[task]:.1f}% is not above {bar:g}%" for task in tasks if found[task] <= bar]


def _mean_of_nonzero(updates: Tensor) -> Tensor:
    return updates.sum(0) / (updates != 0).sum(0).clamp(min=1)


def _rows(answer: Any, shape: torch.Size) -> Tensor | None:
    """The answer as a float64 matrix of this shape, from rows of numbers; None if it is no such matrix."""
    try:
        rows = [as_numbers(row, shape[1]) for row in answer]
    except TypeError:
        return None
    found = [row for row in rows if row is not None]
    return torch.stack(found) if len(found) == len(rows) == shape[0] else None


def _terms(a: Sequence[Tensor], b: Sequence[Tensor], weights: Sequence[float]) -> dict[tuple[int, int], Tensor]:
    """Which B and which A -> their product, with both weights."""
    n = len(a)
    return {(i, j): weights[i] * weights[j] * b[i] @ a[j] for i in range(n) for j in range(n)}
