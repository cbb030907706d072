"""The tables of the sweeps over learning rates, of both legs, in one form; and what follows from a panel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from coto_lab.studies import rate_sweep
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.records import Numbers
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.gallery import RATES, SWEPT
from coto_lab.studies.grid_sweep import GRID_SWEEPS, point
from coto_lab.studies.legs import DIGITS, Leg
from coto_lab.studies.rate_sweep import SAFEGUARDS

ALONE, FUSED = "one run", "1:1 fusion of two seeds"
PLAIN = "none"  # no safeguard

Panel = dict[str, dict[str, Numbers]]  # method -> rate -> summary


def plain_rates(leg: Leg) -> Sequence[float]:
    """The rates that were tried without safeguards."""
    return rate_sweep.swept_rates(PLAIN) if leg == DIGITS else GRID_SWEEPS[leg.name].rates


def seeds(leg: Leg) -> range:
    """The seeds of a leg's sweep."""
    return rate_sweep.SEEDS if leg == DIGITS else GRID_SWEEPS[leg.name].seeds


def grid(leg: Leg) -> str:
    """The settings at which claims about rates are judged."""
    rates, own = plain_rates(leg), seeds(leg)
    return f"{len(rates)} rates, {rates[0]:g} to {rates[-1]:g}; seeds {own[0]} to {own[-1]}"


def values(lab: Lab) -> Values:
    """Test accuracy in %.

    ``panels``: `ALONE` or `FUSED` -> safeguard -> method -> rate -> ``[seeds]`` or ``[pairs]``. ``base``: a scalar. The digits
    also have the ``earlier`` sweep, method -> rate -> ``[seeds]``, and safeguards. The other legs have neither; their panels
    are those of the length of the leg's recipes, and ``lengths`` has those of all: steps -> `ALONE` or `FUSED` -> method -> ...
    """
    found: Values = {"base": torch.tensor(lab.base[0], dtype=torch.float64)}
    if lab.leg != DIGITS:
        lengths = _lengths(lab)
        own = lengths[str(lab.leg.methods["CoTo"].steps)]
        return found | {"panels": {title: {PLAIN: panel} for title, panel in own.items()}, "lengths": lengths}
    table = rate_sweep.rate_sweep()
    panels: Values = {ALONE: {}, FUSED: {}}
    for safeguard in SAFEGUARDS:
        points = [(method, lr) for method in SWEPT for lr in rate_sweep.swept_rates(safeguard)]
        runs = {point: [rate_sweep.sweep_name(safeguard, *point, seed) for seed in rate_sweep.SEEDS] for point in points}
        panels[ALONE][safeguard] = _panel({p: [table["runs"][name]["accuracy"] for name in own] for p, own in runs.items()})
        panels[FUSED][safeguard] = _panel({p: table["fused"][rate_sweep.fused_name(safeguard, *p)] for p in points})
    earlier = {(method, lr): lab.accuracy(method, lr) for method in SWEPT for lr in RATES}
    return found | {"panels": panels, "earlier": _panel(earlier)}


def _lengths(lab: Lab) -> Values:
    """Steps -> `ALONE` or `FUSED` -> the panel at this length."""
    sweep = GRID_SWEEPS[lab.leg.name]
    scores = sweep.results()["scores"][lab.task.name]
    points = [(method, lr) for method in SWEPT for lr in sweep.rates]
    return {
        str(steps): {
            title: _panel({own: scores[point(*own, steps)][key] for own in points})
            for title, key in ((ALONE, "alone"), (FUSED, "fused"))
        }
        for steps in sweep.lengths
    }


def _panel(scores: Mapping[tuple[str, float], Sequence[float]]) -> Values:
    """Method -> rate -> scores, from (method, rate) -> scores."""
    panel: Values = {}
    for (method, lr), own in scores.items():
        panel.setdefault(method, {})[f"{lr:g}"] = torch.tensor(own, dtype=torch.float64)
    return panel


def best_rate(own: Mapping[str, Numbers]) -> str:
    """The rate with the best mean, of one method."""
    return max(own, key=lambda lr: own[lr]["mean"])


def favourites(own: Mapping[str, Numbers]) -> list[float]:
    """For each seed, log2 of the rate at which the seed has its best score."""
    scores = torch.tensor([own[lr]["values"] for lr in own], dtype=torch.float64)
    return [math.log2(float(list(own)[i])) for i in scores.argmax(0).tolist()]


def edges(own: Mapping[str, Numbers], stands: float) -> list[float]:
    """For each seed, log2 of the highest rate such that its runs, from its best rate up to this one, score above ``stands``.

    Rates below the best one do not count: at a low rate a run can score less because it is short.
    """
    rates = [float(lr) for lr in own]
    found = []
    for scores in zip(*(own[lr]["values"] for lr in own), strict=True):
        best = max(range(len(rates)), key=scores.__getitem__)
        fallen = next((i for i in range(best, len(rates)) if scores[i] <= stands), len(rates))
        found.append(math.log2(rates[max(fallen - 1, 0)]))
    return found
