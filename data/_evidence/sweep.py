"""Topic 2: the learning rate, for single runs and for their fusions."""

from __future__ import annotations

import math
from dataclasses import asdict

import torch

from _evidence.lab import Lab
from _evidence.markdown import figure, interval, spread, table
from _evidence.records import PAIRS, Claim, Numbers, Section, compare, summary
from coto_lab import merge
from coto_lab.figures.sweep import sweep_figure
from coto_lab.gallery import METHODS, RATES, SWEPT

_RATES = [f"{lr:g}" for lr in RATES]
_ALONE, _FUSED = "one run", "1:1 fusion of two seeds"


def measure(lab: Lab, done: Numbers) -> Section:
    single = {method: {f"{lr:g}": summary(lab.accuracy(method, lr)) for lr in RATES} for method in SWEPT}
    fused = {method: {f"{lr:g}": _fused(lab, method, lr, done) for lr in RATES} for method in SWEPT}
    panels = {_ALONE: single, _FUSED: fused}
    best = {
        title: {m: max(_RATES, key=lambda lr, own=own: own[lr]["mean"]) for m, own in panels[title].items()} for title in panels
    }
    own_rate = f"{METHODS['CoTo'].lr:g}"
    lora, coto = best[_ALONE]["LoRA"], best[_ALONE]["CoTo"]
    fused_lora = best[_FUSED]["LoRA"]
    # Of every seed, the rate at which it scores best, in powers of two.
    favourites = {m: summary([math.log2(RATES[i]) for i in _values(own).argmax(0).tolist()]) for m, own in single.items()}
    at_highest = single["CoTo"][_RATES[-1]]
    rival = {lora: f"{lora}, best alone", fused_lora: f"{fused_lora}, best fused"}
    if lora == fused_lora:
        rival = {lora: f"{lora}, best alone and best fused"}
    claims = [
        Claim(
            topic=2,
            text=f"At its best learning rate (here {coto}) CoTo is better than LoRA at its own (here {lora})",
            paper="DTD 73.7 at 0.005 against 72.7 at 0.001 (figure r6)",
            kind="above",
            parts={"": compare(single["CoTo"][coto], single["LoRA"][lora])},
        ),
        Claim(
            topic=2,
            text="CoTo wants a higher learning rate than LoRA (best rate of each seed, in doublings)",
            paper="best at 0.005 against 0.001, 2.3 doublings (figure r6)",
            kind="above",
            unit="doublings",
            parts={"": compare(favourites["CoTo"], favourites["LoRA"])},
        ),
        Claim(
            topic=2,
            text=f"At the lowest rate (here {_RATES[0]}) CoTo loses",
            paper="DTD at 0.00005: 68.8 against 72.1 (figure r6)",
            kind="below",
            parts={"": compare(single["CoTo"][_RATES[0]], single["LoRA"][_RATES[0]])},
        ),
        Claim(
            topic=2,
            text=f"At the highest rate (here {_RATES[-1]}) LoRA falls and CoTo stands, above the base model",
            paper="DTD at 0.005: CoTo is at its best, LoRA collapses (figure r6)",
            kind="above",
            parts={
                "CoTo - LoRA": compare(at_highest, single["LoRA"][_RATES[-1]]),
                "CoTo - base model": compare(at_highest, round(lab.base[0], 4)),
            },
        ),
        Claim(
            topic=3,
            text=f"Fused 1:1, CoTo is better also where LoRA has a better learning rate (CoTo at {own_rate}; LoRA at its best)",
            paper="not reported",
            kind="above",
            parts={f"LoRA at {name}": compare(fused["CoTo"][own_rate], fused["LoRA"][lr], PAIRS) for lr, name in rival.items()},
        ),
    ]
    differences = {
        title: {lr: asdict(compare(own["CoTo"][lr], own["LoRA"][lr], PAIRS if own is fused else None)) for lr in _RATES}
        for title, own in panels.items()
    }
    drawn = {t: {m: {float(lr): _tensor(own[lr]) / 100 for lr in _RATES} for m, own in p.items()} for t, p in panels.items()}
    numbers = {"panels": panels, "differences": differences, "best": best}
    # Where training diverged, runs score below the base model; an axis that shows that shows nothing else.
    ends = [
        (own["mean"] - own["sd"], own["mean"] + own["sd"]) for p in panels.values() for m in p.values() for own in m.values()
    ]
    kept = [(low, high) for low, high in ends if high > lab.base[0]]
    lowest, highest = min(low for low, _ in kept), max(high for _, high in kept)
    return Section(numbers, claims, {"sweep": sweep_figure(drawn).update_yaxes(range=[lowest - 1, highest + 1])})


def _fused(lab: Lab, method: str, lr: float, done: Numbers) -> Numbers:
    if lr == METHODS[method].lr:
        return {key: value for key, value in done["merging"]["scores"]["1:1"][method].items() if key != "difference"}
    seeds = lab.adapters(method, lr)
    return summary(lab.score([merge([seeds[i], seeds[j]]) for i, j in PAIRS]))


def _tensor(scores: Numbers) -> torch.Tensor:
    return torch.tensor(scores["values"], dtype=torch.float64)


def _values(scores: dict[str, Numbers]) -> torch.Tensor:
    """Rates by seeds."""
    return torch.stack([_tensor(scores[lr]) for lr in _RATES])


def text(evidence: Numbers) -> str:
    numbers = evidence["sweep"]
    rows = []
    for lr in _RATES:
        cells = [f"{float(lr):g}"]
        for title in (_ALONE, _FUSED):
            panel = numbers["panels"][title]
            cells += [spread(panel[method][lr]) for method in SWEPT] + [interval(numbers["differences"][title][lr])]
        rows.append(cells)
    header = ["learning rate", "LoRA", "CoTo", "CoTo - LoRA", "LoRA, fused 1:1", "CoTo, fused 1:1", "CoTo - LoRA"]
    best = "; ".join(f"{title}: LoRA {own['LoRA']}, CoTo {own['CoTo']}" for title, own in numbers["best"].items())
    return f"""## 2. The learning rate

Both methods at {len(_RATES)} learning rates, five seeds each, test accuracy in %. Best rates: {best}. They are chosen by
the mean on the test images, so what is scored at them is a little too good, for both methods. Every other section has all
methods at {METHODS["CoTo"].lr:g}. The figure leaves out rates at which training diverged: scores below the base model's.

{table(header, rows)}

{figure("sweep", "test accuracy against the learning rate, single runs and fusions of two seeds")}
"""
