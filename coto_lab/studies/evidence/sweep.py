"""Topic 2: the learning rate, for single runs and for their fusions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import plotly.graph_objects as go
import torch

from coto_lab.figures.sweep import sweep_figure
from coto_lab.studies.evidence import sweep_panels
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import figure, interval, on_each, spread, table
from coto_lab.studies.evidence.records import PAIRS, Numbers, Section, compare, summary
from coto_lab.studies.evidence.sweep_claims import WORDS, claim_of_fusion, claims_of_edges, claims_of_rates
from coto_lab.studies.evidence.sweep_panels import ALONE, FUSED, PLAIN, Panel, best_rate, edges, plain_rates, seeds
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.gallery import SWEPT
from coto_lab.studies.grid_sweep import GRID_SWEEPS
from coto_lab.studies.legs import DIGITS, LEGS, Leg


def values(lab: Lab) -> Values:
    """As `sweep_panels.values`."""
    return sweep_panels.values(lab)


def judge(found: Values, leg: Leg) -> Section:
    """Numbers, claims and figures of this topic; ``found`` holds the values of all topics."""
    own = found["sweep"]
    panels = {
        title: {safeguard: _summaries(panel) for safeguard, panel in panels.items()} for title, panels in own["panels"].items()
    }
    differences = {
        title: {
            safeguard: {
                lr: asdict(compare(panel["CoTo"][lr], panel["LoRA"][lr], PAIRS if title == FUSED else None))
                for lr in panel["LoRA"]
            }
            for safeguard, panel in safeguards.items()
        }
        for title, safeguards in panels.items()
    }
    single, fused = panels[ALONE][PLAIN], panels[FUSED][PLAIN]
    best = {title: {m: best_rate(scores) for m, scores in safeguards[PLAIN].items()} for title, safeguards in panels.items()}
    base = round(own["base"].item(), 4)
    stands = round((base + max(scores[best[ALONE][m]]["mean"] for m, scores in single.items())) / 2, 4)
    withstood = {s: {m: summary(edges(scores, stands)) for m, scores in panel.items()} for s, panel in panels[ALONE].items()}
    numbers = {
        "panels": panels,
        "differences": differences,
        "best": best,
        "base": base,
        "stands": stands,
        "edges": withstood,
        "edge_differences": {s: asdict(compare(edge["CoTo"], edge["LoRA"])) for s, edge in withstood.items()},
        "highest": _nearest(2 ** min(withstood[PLAIN]["CoTo"]["values"]), leg),  # that every seed of CoTo withstands
    }
    if "earlier" in own:
        earlier = _summaries(own["earlier"])
        numbers["earlier"] = earlier
        numbers["earlier_differences"] = {
            lr: asdict(compare(earlier["CoTo"][lr], earlier["LoRA"][lr])) for lr in earlier["LoRA"]
        }
    if "lengths" in own:
        numbers["lengths"] = {steps: _at_best(_summaries(panels[ALONE])) for steps, panels in own["lengths"].items()}
    claims = [
        *claims_of_rates(single, numbers, leg),
        *claims_of_edges(withstood, leg),
        claim_of_fusion(fused, numbers, leg),
    ]
    return Section(numbers, claims, _figures(panels))


def _summaries(panel: Values) -> Panel:
    return {method: {lr: summary(scores) for lr, scores in own.items()} for method, own in panel.items()}


def _at_best(panel: Panel) -> Numbers:
    """Both methods at their own best rates."""
    best = {method: best_rate(own) for method, own in panel.items()}
    scores = {method: panel[method][lr] for method, lr in best.items()}
    return {"best": best, "scores": scores, "difference": asdict(compare(scores["CoTo"], scores["LoRA"]))}


def _nearest(rate: float, leg: Leg) -> str:
    """The rate of the grid that a rounded logarithm stands for."""
    return f"{min(plain_rates(leg), key=lambda lr: abs(lr - rate)):g}"


def _figures(panels: Mapping[str, Mapping[str, Panel]]) -> dict[str, go.Figure]:
    def drawn(panel: Panel) -> dict[str, dict[float, torch.Tensor]]:
        return {
            method: {float(lr): torch.tensor(scores["values"], dtype=torch.float64) / 100 for lr, scores in own.items()}
            for method, own in panel.items()
        }

    figures = {"sweep": sweep_figure({title: drawn(panel[PLAIN]) for title, panel in panels.items()})}
    guarded = {WORDS[s]: drawn(panel) for s, panel in panels[ALONE].items() if s != PLAIN}
    return figures | {"safeguards": sweep_figure(guarded)} if guarded else figures


def _rows(numbers: Numbers, safeguard: str) -> list[list[str]]:
    rows = []
    for lr in numbers["panels"][ALONE][safeguard]["LoRA"]:
        cells = [lr]
        for title in (ALONE, FUSED):
            panel = numbers["panels"][title][safeguard]
            cells += [spread(panel[method][lr]) for method in SWEPT]
            cells.append(interval(numbers["differences"][title][safeguard][lr]))
        rows.append(cells)
    return rows


_HEADER = ["learning rate", "LoRA", "CoTo", "CoTo - LoRA", "LoRA, fused 1:1", "CoTo, fused 1:1", "CoTo - LoRA"]


def text(legs: Mapping[str, Numbers]) -> str:
    """The topic's section of the page, in Markdown."""

    def rates(leg: str, numbers: Numbers) -> str:
        own = numbers["sweep"]
        best = "; ".join(f"{title}: LoRA {b['LoRA']}, CoTo {b['CoTo']}" for title, b in own["best"].items())
        drawn = figure(leg, "sweep", f"test accuracy against the learning rate, single runs and fusions of two seeds, {leg}")
        return f"""{table(_HEADER, _rows(own, PLAIN))}

The best rates are these: {best}. The highest rate that every seed of CoTo withstands is {own["highest"]}.

{drawn}"""

    def edge_rows(leg: str, numbers: Numbers) -> str:
        own = numbers["sweep"]
        rows = [
            [
                WORDS[s],
                *(", ".join(_nearest(2**v, LEGS[leg]) for v in edge[m]["values"]) for m in SWEPT),
                interval(own["edge_differences"][s], 2),
            ]
            for s, edge in own["edges"].items()
        ]
        return f"""{table(["", "LoRA, seed by seed", "CoTo, seed by seed", "CoTo - LoRA, doublings"], rows)}

A run withstands a rate if it scores above {own["stands"]:.1f}%. The grid ends at {plain_rates(LEGS[leg])[-1]:g}."""

    grids = " ".join(_grid(LEGS[leg]) for leg in legs)
    return f"""## 2. The learning rate

The table has the test accuracy in % of both methods at several learning rates. The grids were fixed before their first runs,
and their seeds, {seeds(DIGITS)[0]} to {seeds(DIGITS)[-1]}, are not those of the gallery. {grids} Nothing is known about rates
between those of a grid, or outside of it.

{on_each(legs, rates)}

The best rates were chosen by the mean on the test examples, so the scores at these rates are slightly too good, for both
methods. The highest rate that CoTo withstands was chosen by CoTo's runs alone. In every other section all methods have one
rate, that of the gallery.

A run *withstands* a rate if it scores above the value that is half way between the base model and the best mean. For each seed,
the table has the highest rate such that the seed withstands this rate and all rates of the grid from its own best rate up to
it. On the strings, the mean over the tasks has to be above that value, which is possible even if the runs on one task have
collapsed; section 13 has the tasks one by one. On the digits, two safeguards were tried that are common in practice: gradients
clipped to a norm of 1 (the default of transformers' Trainer), or a linear warm-up over the first 80 of 800 steps. On the
other legs they were not tried.

{on_each(legs, edge_rows)}

{_lengths(legs)}

{_digits_only(legs[DIGITS.name]["sweep"])}
"""


def _lengths(legs: Mapping[str, Numbers]) -> str:
    """What runs of other lengths score, of the legs that have such runs."""
    parts = []
    for leg, numbers in legs.items():
        if len(numbers["sweep"].get("lengths", ())) < 2:
            continue
        rows = [
            [
                steps,
                *(f"{spread(own['scores'][m])}<br>at {own['best'][m]}" for m in SWEPT),
                interval(own["difference"]),
            ]
            for steps, own in numbers["sweep"]["lengths"].items()
        ]
        parts.append(f"""On the {leg}, runs of several lengths were trained at all rates of the grid. The table has the test
accuracy in % of single runs, of each method at its own best rate for this length.

{table(["steps", "LoRA", "CoTo", "CoTo - LoRA"], rows)}""")
    return "\n\n".join(parts)


def _grid(leg: Leg) -> str:
    rates = plain_rates(leg)
    if leg == DIGITS:
        return (
            f"On the digits there are {len(rates)} rates: 0.001, 0.0025, 0.005, and from 0.01 to 0.04 in quarters of a "
            "doubling. The reason for this sweep was that an earlier one (at the end of this section) had gone from 0.02 to "
            "0.04 in one step."
        )
    recipe = leg.methods["CoTo"]
    return (
        f"On the {leg.name} there are {len(rates)} rates, from {rates[0]:g} to {rates[-1]:g} in "
        f"{GRID_SWEEPS[leg.name].spacing}, and the runs have {recipe.steps} steps, as in the gallery."
    )


def _digits_only(numbers: Numbers) -> str:
    guarded = "\n\n".join(
        f"{WORDS[s].capitalize()}, on the digits:\n\n{table(_HEADER, _rows(numbers, s))}"
        for s in numbers["panels"][ALONE]
        if s != PLAIN
    )
    earlier = [
        [lr, *(spread(numbers["earlier"][m][lr]) for m in SWEPT), interval(numbers["earlier_differences"][lr])]
        for lr in numbers["earlier"]["LoRA"]
    ]
    words = "test accuracy against the learning rate with clipping and with warm-up, digits"
    return f"""{figure(DIGITS.name, "safeguards", words)}

{guarded}

This is the earlier sweep on the digits, with seeds 0 to 4, on which these claims were judged before:

{table(["learning rate", "LoRA", "CoTo", "CoTo - LoRA"], earlier)}"""
