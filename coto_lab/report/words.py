"""What a report says in words: sentences that are computed from the numbers, and that claim no more than these."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from coto_lab.figures.shapley import short_names
from coto_lab.probes.cost import spared
from coto_lab.probes.shapley import ShapleyValues
from coto_lab.report.measures import PLANNED_STEPS, Measures

CLEAR = 2.0  # standard errors from which on a difference is called one
_CLOSE = 0.01  # how far below the whole adapter an accuracy may lie and still be called close to it


def percent(share: float, digits: int = 1) -> str:
    """``0.9585`` as ``"95.9%"``."""
    return f"{share:z.{digits}%}"


def points(difference: float) -> str:
    """A difference of two shares, ``0.0123`` as ``"1.2"`` percentage points."""
    return f"{100 * difference:z.1f}"


def standard_error(values: Tensor) -> float:
    """Of the mean of one value per example ``[N]``; NaN of a single one."""
    return (values.std(0) / math.sqrt(len(values))).item() if len(values) > 1 else math.nan


def error_words(values: Tensor) -> str:
    """The standard error of a mean share, in words."""
    return f"standard error {points(standard_error(values))} points" if len(values) > 1 else "one example has no standard error"


def listed(names: Sequence[str]) -> str:
    """``"a, b and c"``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def of_examples(n: int) -> str:
    """On how many examples, and how exact a share of them can be."""
    if n == 1:
        return "measured on one test example, which has no standard error"
    most = points(0.5 / math.sqrt(n - 1))  # of one half right; as everywhere here, the variance is divided by n - 1
    return f"measured on {n} test examples, where the standard error of a share is at most {most} points"


def score_words(m: Measures) -> list[str]:
    """The score against that of the base model."""
    right, loss = m.scores.values["correct"], m.scores.values["loss"]
    gain, error = (right[1] - right[0]).mean().item(), standard_error(right[1] - right[0])
    base, own = right.mean(1).tolist()
    whole = m.subject.whole_layers
    words = [
        f"{m.subject.name} {m.does} {percent(own)} of {m.examples} test examples correctly "
        f"({error_words(right[1])}), and the base model without it {percent(base)} ({error_words(right[0])})."
    ]
    if m.predicts_numbers:
        words.append(
            "The answers are numbers. A prediction is counted as correct, and as a right answer, if it is within 0.5 of "
            "the right number; the accuracy is the share of these. The loss is the squared error."
        )
    elif m.gives_shares:
        words.append(
            "An answer may be right in part: it is counted as correct, and as a right answer, by the share that the task gives "
            "it; the accuracy is the mean of these shares."
        )
    if whole:
        words.append(
            f"Beside the adapter, {listed(whole)} {'was' if len(whole) == 1 else 'were'} trained whole; “the base model” means "
            "the base model with these trained layers and without the adapter."
        )
    if m.examples == 1:
        words.append("One example does not show whether the adapter changes the share of right answers.")
    elif not abs(gain) > CLEAR * error:
        words.append(
            f"On the same examples the difference is {points(gain)} points with a standard error of {points(error)}: these "
            "examples do not show that the adapter changes the share of right answers."
        )
    else:
        change = (loss[1] - loss[0]).mean().item()
        words.append(
            f"On the same examples the adapter is right {points(abs(gain))} points {'more' if gain > 0 else 'less'} often "
            f"(standard error {points(error)}), and its mean loss is {abs(change):.3f}{m.unit} "
            f"{'lower' if change < 0 else 'higher'}."
        )
    return words


def game_words(m: Measures) -> list[str]:
    """Which blocks matter."""
    found, plan, n = m.blocks["accuracy"], m.plan, len(m.blocks["accuracy"].players)
    total = found.v_full - found.v_empty
    how = (
        f"Shapley values of all {2**n} coalitions of the {n} blocks, on {m.examples_of('blocks')} test examples; ± is their "
        "standard error over the examples"
        if plan.exact
        else f"Shapley values estimated from {plan.orders} random orders of the {n} blocks, on {m.examples_of('blocks')} test "
        "examples; ± is the standard error over the orders"
    )
    if n == 1:
        return [f"{m.subject.name} is on one block only, so that block has all that the adapter adds: {points(total)} points."]
    words = [f"{m.subject.name}: {how}. Together the blocks add {points(total)} points of accuracy."]
    return [*words, *_extremes(found, "block", total)]


def kind_words(m: Measures) -> list[str]:
    """Which kinds of module matter."""
    if m.kinds is None:
        kinds = len({name.removeprefix(f"{block}.") for name, block in zip(m.sites.names, m.sites.blocks, strict=True)})
        few = (
            "is on one kind of module only"
            if kinds == 1
            else f"is on {kinds} kinds of module, too many to score all coalitions"
        )
        return [f"{m.subject.name} {few}."]
    found = m.kinds["accuracy"]
    words = [
        f"{m.subject.name}: the same game with the {len(found.players)} kinds of module as players, on "
        f"{m.examples_of('kinds')} test examples."
    ]
    return [*words, *_extremes(found, "kind", found.v_full - found.v_empty)]


def _extremes(found: ShapleyValues, what: str, total: float) -> list[str]:
    names = short_names(found.players)
    errors = torch.zeros(len(names)) if found.standard_error is None else found.standard_error
    values = [f"{points(v)} ± {points(e)} points" for v, e in zip(found.values.tolist(), errors.tolist(), strict=True)]
    unclear = [name for name, v, e in zip(names, found.values, errors, strict=True) if not abs(v) > CLEAR * e]
    if len(unclear) == len(names):
        return [f"Every value is within {CLEAR:.0f} standard errors of 0, so which {what}s matter is inconclusive."]
    most, least = int(found.values.argmax()), int(found.values.argmin())
    share = f", {percent(found.values[most].item() / total, 0)} of the total" if total > 0 else ""
    words = [
        f"The {what} that adds most is {names[most]} ({values[most]}{share}); least adds {names[least]} ({values[least]})."
    ]
    if unclear:
        several = len(unclear) > 1
        words.append(
            f"Of {what}{'s' if several else ''} {listed(unclear)} the value{'s are' if several else ' is'} within "
            f"{CLEAR:.0f} standard errors of 0: whether {'they add' if several else 'it adds'} anything is inconclusive."
        )
    return words


def pattern_words(m: Measures) -> list[str]:
    """What is left when only some adapters are kept."""
    table = m.patterns
    accuracy = dict(zip(table.patterns, table.accuracy.tolist(), strict=True))
    kept = dict(zip(table.patterns, table.kept.tolist(), strict=True))
    gain = accuracy["all"] - accuracy["none"]
    partial = [name for name in table.patterns if name not in ("all", "none") and 0 < kept[name] < 1]
    if not partial:
        return []
    best = max(partial, key=lambda name: accuracy[name])
    remains = (
        f", which keeps {percent((accuracy[best] - accuracy['none']) / gain, 0)} of the gain over the base model"
        if gain > 0
        else ""
    )
    return [
        f"{m.subject.name}: of the patterns that keep some of the adapters, “{best}” scores best: with "
        f"{percent(kept[best], 0)} of the modules it {m.does} {percent(accuracy[best])} correctly{remains}. All "
        f"together reach {percent(accuracy['all'])} ({of_examples(m.examples_of('patterns'))})."
    ]


def sparsity_words(m: Measures) -> list[str]:
    """How many small entries can go."""
    curve = m.sparsity
    if curve is None:
        return [f"{m.subject.name}: {m.subject.method} has no factors A and B whose entries could be set to 0."]
    lost = curve.accuracy[0] - curve.accuracy
    beyond = (lost > _CLOSE).nonzero()
    last = int(beyond[0]) - 1 if len(beyond) else len(lost) - 1
    middle = int((curve.sparsity - 0.5).abs().argmin())
    return [
        f"{m.subject.name}: with the smallest {percent(curve.sparsity[middle].item(), 0)} of the entries of its factors set to "
        f"0 it {m.does} {percent(curve.accuracy[middle].item())} correctly, and with none "
        f"{percent(curve.accuracy[0].item())}. Up to a sparsity of {percent(curve.sparsity[last].item(), 0)} it loses at most "
        f"{points(_CLOSE)} point ({of_examples(m.examples_of('sparsity'))})."
    ]


def stability_words(m: Measures) -> list[str]:
    """What half of the blocks do."""
    n = m.stability.masks.shape[1]
    half = n // 2
    if not half:
        return []
    spread = {name: values[half].item() for name, values in m.stability.spread().items()}
    masks = int((m.stability.opened == half).sum())
    return [
        f"{m.subject.name}: with {half} of the {n} blocks open it {m.does} {percent(spread['mean'])} correctly on "
        f"average over {masks} choices of these blocks, from {percent(spread['min'])} for the worst to "
        f"{percent(spread['max'])} for the best choice ({of_examples(m.examples_of('stability'))})."
    ]


def spectra_words(m: Measures) -> list[str]:
    """Where the updates are large, and of how many directions they are made."""
    if m.spectra is None:
        return [f"{m.subject.name}: {m.subject.method} has no update ΔW that could be merged into one weight."]
    found = m.spectra
    norms = list(found.block_norm.values())
    names = short_names(tuple(found.block_norm))
    most, least = norms.index(max(norms)), norms.index(min(norms))
    words = [
        f"{m.subject.name}: ‖ΔW‖ is largest in block {names[most]} ({norms[most]:.3g}) and smallest in block {names[least]} "
        f"({norms[least]:.3g})."
    ]
    if found.relative.isfinite().all():
        high = int(found.relative.argmax())
        words.append(
            f"Compared with the frozen weight, the update is largest in {found.names[high]}, where ‖ΔW‖ is "
            f"{percent(found.relative[high].item())} of ‖W‖; the median over the modules is "
            f"{percent(found.relative.quantile(0.5).item())}."
        )
    if (share := found.top_share.nanmean().item()) == share:
        words.append(f"On average over the modules, the largest singular value has {percent(share, 0)} of ‖ΔW‖².")
    return words


def mask_words(m: Measures) -> list[str]:
    """What dropping blocks saves in training."""
    adapters, backward = spared(m.masks, m.towers)
    if m.masks.shape[1] == 1:
        return [f"{m.subject.name} is on one block, which CoTo never drops."]
    saved = f"{percent(adapters)} of the adapters' work and {percent(backward)} of the backward passes through the blocks"
    if m.own_masks:
        return [f"{m.subject.name} was trained with masks over {len(m.masks)} steps, which saved {saved}."]
    return [
        f"{m.subject.name}: over {PLANNED_STEPS} steps with its linear ramp (seed 0), CoTo's masks would have saved {saved} in "
        "training."
    ]
