"""Topic 2: the learning rate, for single runs and for their fusions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict

import plotly.graph_objects as go
import torch

from coto_lab.figures.sweep import sweep_figure
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import figure, interval, spread, table
from coto_lab.studies.evidence.records import PAIRS, Claim, Numbers, Section, compare, summary
from coto_lab.studies.gallery import METHODS, RATES, SWEPT
from coto_lab.studies.rate_sweep import SAFEGUARDS, SEEDS, fused_name, rate_sweep, sweep_name, swept_rates

ALONE, FUSED = "one run", "1:1 fusion of two seeds"
WORDS = {
    "none": "without safeguards",
    "clipping": "with gradients clipped to a norm of 1",
    "warm-up": "with a warm-up over the first tenth",
}
_PLAIN = swept_rates("none")
_GRID = f"{len(_PLAIN)} rates, {_PLAIN[0]:g} to {_PLAIN[-1]:g}; seeds {SEEDS[0]} to {SEEDS[-1]}"

Panel = dict[str, dict[str, Numbers]]  # method -> rate -> summary


def measure(lab: Lab, done: Numbers) -> Section:
    """Numbers, claims and figures of this topic; ``done`` holds the numbers of topics measured before."""
    found = rate_sweep()
    panels: dict[str, dict[str, Panel]] = {ALONE: {}, FUSED: {}}
    for safeguard in SAFEGUARDS:
        rates = swept_rates(safeguard)
        panels[ALONE][safeguard] = {
            method: {
                f"{lr:g}": summary([found["runs"][sweep_name(safeguard, method, lr, seed)]["accuracy"] for seed in SEEDS])
                for lr in rates
            }
            for method in SWEPT
        }
        panels[FUSED][safeguard] = {
            method: {f"{lr:g}": summary(found["fused"][fused_name(safeguard, method, lr)]) for lr in rates} for method in SWEPT
        }
    differences = {
        title: {
            safeguard: {
                lr: asdict(compare(own["CoTo"][lr], own["LoRA"][lr], PAIRS if title == FUSED else None)) for lr in own["LoRA"]
            }
            for safeguard, own in panel.items()
        }
        for title, panel in panels.items()
    }
    single, fused = panels[ALONE]["none"], panels[FUSED]["none"]
    best = {title: {m: _best(own) for m, own in panel["none"].items()} for title, panel in panels.items()}
    base = round(lab.base[0], 4)
    stands = round((base + max(own[best[ALONE][m]]["mean"] for m, own in single.items())) / 2, 4)
    edges = {s: {m: summary(_edges(own, stands)) for m, own in panel.items()} for s, panel in panels[ALONE].items()}
    highest = f"{2 ** min(edges['none']['CoTo']['values']):.3g}"  # the highest rate that every seed of CoTo withstands
    earlier = {method: {f"{lr:g}": summary(lab.accuracy(method, lr)) for lr in RATES} for method in SWEPT}
    numbers = {
        "panels": panels,
        "differences": differences,
        "best": best,
        "base": base,
        "stands": stands,
        "edges": edges,
        "edge_differences": {s: asdict(compare(own["CoTo"], own["LoRA"])) for s, own in edges.items()},
        "highest": highest,
        "earlier": earlier,
        "earlier_differences": {lr: asdict(compare(earlier["CoTo"][lr], earlier["LoRA"][lr])) for lr in earlier["LoRA"]},
    }
    claims = [
        *_claims_of_rates(single, best[ALONE], base, highest),
        *[
            Claim(
                topic=2,
                text=f"CoTo withstands higher rates than LoRA, {WORDS[safeguard]} (highest rate up to which a seed trains)",
                paper="DTD at 0.005: CoTo is at its best, LoRA collapses (figure r6)"
                if safeguard == "none"
                else "not reported",
                kind="above",
                unit="doublings",
                digits=2,
                grid=_GRID if safeguard == "none" else f"{len(swept_rates(safeguard))} rates from 0.01; seeds 5 to 9",
                parts={"": compare(own["CoTo"], own["LoRA"])},
            )
            for safeguard, own in edges.items()
        ],
        _claim_of_fusion(fused, best),
    ]
    return Section(numbers, claims, _figures(panels))


def _best(own: Mapping[str, Numbers]) -> str:
    return max(own, key=lambda lr: own[lr]["mean"])


def _edges(own: Mapping[str, Numbers], stands: float) -> list[float]:
    """For each seed, log2 of the highest rate such that the runs at this and at all lower rates score above ``stands``."""
    edges = []
    for scores in zip(*(own[lr]["values"] for lr in own), strict=True):
        trained = [float(lr) for lr, score in zip(own, scores, strict=True) if score > stands]
        rates = [float(lr) for lr in own]
        standing = next((i for i, lr in enumerate(rates) if lr not in trained), len(rates))
        edges.append(math.log2(rates[standing - 1]) if standing else math.log2(rates[0]) - 0.25)
    return edges


def _claims_of_rates(single: Panel, best: Mapping[str, str], base: float, highest: str) -> list[Claim]:
    lora, coto = best["LoRA"], best["CoTo"]
    # For each seed, log2 of the rate at which the seed has its best score.
    favourites = {}
    for method, own in single.items():
        values = torch.tensor([own[lr]["values"] for lr in own], dtype=torch.float64)
        favourites[method] = summary([math.log2(float(list(own)[i])) for i in values.argmax(0).tolist()])
    lowest = next(iter(single["LoRA"]))
    return [
        Claim(
            topic=2,
            text=f"At its best learning rate (here {coto}) CoTo is better than LoRA at its own (here {lora})",
            paper="DTD 73.7 at 0.005 against 72.7 at 0.001 (figure r6)",
            kind="above",
            grid=_GRID,
            parts={"": compare(single["CoTo"][coto], single["LoRA"][lora])},
        ),
        Claim(
            topic=2,
            text="CoTo's best learning rate is higher than LoRA's (best rate of each seed)",
            paper="best at 0.005 against 0.001, 2.3 doublings (figure r6)",
            kind="above",
            unit="doublings",
            grid=_GRID,
            parts={"": compare(favourites["CoTo"], favourites["LoRA"])},
        ),
        Claim(
            topic=2,
            text=f"At the lowest rate (here {lowest}) CoTo is worse than LoRA",
            paper="DTD at 0.00005: 68.8 against 72.1 (figure r6)",
            kind="below",
            grid=f"{lowest}; seeds {SEEDS[0]} to {SEEDS[-1]}",
            parts={"": compare(single["CoTo"][lowest], single["LoRA"][lowest])},
        ),
        Claim(
            topic=2,
            text=f"At the highest rate that every seed of CoTo withstands (here {highest}) LoRA collapses",
            paper="DTD at 0.005: CoTo is at its best, LoRA collapses (figure r6)",
            kind="above",
            grid=_GRID,
            parts={
                "CoTo - LoRA": compare(single["CoTo"][highest], single["LoRA"][highest]),
                "CoTo - base model": compare(single["CoTo"][highest], base),
            },
        ),
    ]


def _claim_of_fusion(fused: Panel, best: Mapping[str, Mapping[str, str]]) -> Claim:
    own_rate = f"{METHODS['CoTo'].lr:g}"
    alone, together = best[ALONE]["LoRA"], best[FUSED]["LoRA"]
    rivals = {alone: f"{alone}, best alone", together: f"{together}, best fused"}
    if alone == together:
        rivals = {alone: f"{alone}, best alone and best fused"}
    return Claim(
        topic=3,
        text=f"Fused 1:1, CoTo is better even if LoRA has a better learning rate (CoTo at {own_rate}; LoRA at its best)",
        paper="not reported",
        kind="above",
        grid=_GRID,
        parts={f"LoRA at {name}": compare(fused["CoTo"][own_rate], fused["LoRA"][lr], PAIRS) for lr, name in rivals.items()},
    )


def _figures(panels: Mapping[str, Mapping[str, Panel]]) -> dict[str, go.Figure]:
    def drawn(panel: Panel) -> dict[str, dict[float, torch.Tensor]]:
        return {
            method: {float(lr): torch.tensor(scores["values"], dtype=torch.float64) / 100 for lr, scores in own.items()}
            for method, own in panel.items()
        }

    return {
        "sweep": sweep_figure({title: drawn(panel["none"]) for title, panel in panels.items()}),
        "safeguards": sweep_figure({WORDS[s]: drawn(panel) for s, panel in panels[ALONE].items() if s != "none"}),
    }


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


def text(evidence: Numbers) -> str:
    """The topic's section of the page, in Markdown."""
    numbers = evidence["sweep"]
    header = ["learning rate", "LoRA", "CoTo", "CoTo - LoRA", "LoRA, fused 1:1", "CoTo, fused 1:1", "CoTo - LoRA"]
    best = "; ".join(f"{title}: LoRA {own['LoRA']}, CoTo {own['CoTo']}" for title, own in numbers["best"].items())
    edge_rows = [
        [
            WORDS[s],
            *(", ".join(f"{2**v:.3g}" for v in own[m]["values"]) for m in SWEPT),
            interval(numbers["edge_differences"][s], 2),
        ]
        for s, own in numbers["edges"].items()
    ]
    earlier = [
        [lr, *(spread(numbers["earlier"][m][lr]) for m in SWEPT), interval(numbers["earlier_differences"][lr])]
        for lr in numbers["earlier"]["LoRA"]
    ]
    guarded = "\n\n".join(f"{WORDS[s].capitalize()}:\n\n{table(header, _rows(numbers, s))}" for s in SAFEGUARDS if s != "none")
    return f"""## 2. The learning rate

The table has the test accuracy in % of both methods at {len(_PLAIN)} learning rates: 0.001, 0.0025, 0.005, and from 0.01 to
0.04 in quarters of a doubling. The grid was fixed before its first run, and its seeds, {SEEDS[0]} to {SEEDS[-1]}, are new. The
reason for this sweep was that an earlier one (at the end of this section) had gone from 0.02 to 0.04 in one step. Nothing is
known about rates between those of a grid, or outside of it.

{table(header, _rows(numbers, "none"))}

The best rates are these: {best}. They were chosen by the mean on the test images, so the scores at these rates are slightly too
good, for both methods. The rate {numbers["highest"]} of the claim above was chosen by CoTo's runs alone. In every other section
all methods have the rate {METHODS["CoTo"].lr:g}.

{figure("sweep", "test accuracy against the learning rate, single runs and fusions of two seeds")}

A run *withstands* a rate if it scores above {numbers["stands"]:.1f}%, which is half way between the base model and the best
mean. For each seed, the table has the highest rate such that the seed withstands this rate and all lower rates of the grid. The
grid ends at {_PLAIN[-1]:g}. The safeguards are common in practice: gradients clipped to a norm of 1 (the default of
transformers' Trainer), or a linear warm-up over the first 80 of 800 steps.

{table(["", "LoRA, seed by seed", "CoTo, seed by seed", "CoTo - LoRA, doublings"], edge_rows)}

{figure("safeguards", "test accuracy against the learning rate with clipping and with warm-up")}

{guarded}

This is the earlier sweep, with seeds 0 to 4, on which these claims were judged before:

{table(["learning rate", "LoRA", "CoTo", "CoTo - LoRA"], earlier)}
"""
