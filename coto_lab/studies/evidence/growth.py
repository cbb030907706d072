"""The first steps of trainings on the digits at a rate at which LoRA collapses and CoTo does not.

This part of topic 2 has no claims.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from coto_lab.figures.growth import growth_figure
from coto_lab.probes.growth import Growth, growth
from coto_lab.studies.evidence import sweep
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import figure, interval, spread, table
from coto_lab.studies.evidence.records import Numbers, Section, compare, summary
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.gallery import SWEPT
from coto_lab.studies.legs import DIGITS, Leg
from coto_lab.studies.rate_sweep import SEEDS

STEPS, EVERY = 160, 40
_WINDOW = 10  # steps in a median of the loss and of the gradient norm
_AXES = {"length of ΔW, mean of the blocks": 1, "gradient norm": 2, "training loss, nats": 2}  # name -> digits


def values(lab: Lab) -> Values:
    """The ``rate`` at which LoRA collapses and CoTo does not, by the sweep; and ``runs`` at it, method -> growths."""
    rate = float(sweep.judge({"sweep": sweep.values(lab)}, lab.leg).numbers["highest"])
    recipes = {m: [replace(lab.leg.methods[m], lr=rate, seed=seed) for seed in SEEDS] for m in SWEPT}
    return {"rate": rate, "runs": {m: [growth(lab.task, recipe, STEPS) for recipe in own] for m, own in recipes.items()}}


def judge(found: Values, leg: Leg) -> Section:
    """Numbers and figures of this topic; ``found`` holds the values of all topics."""
    rate, trained = found["growth"]["rate"], found["growth"]["runs"]
    columns = {
        name: {m: {str(t): summary([_at(own, name, t) for own in runs]) for t in _ends()} for m, runs in trained.items()}
        for name in _AXES
    }
    differences = {
        name: {t: asdict(compare(own["LoRA"][t], own["CoTo"][t])) for t in own["LoRA"]} for name, own in columns.items()
    }
    # The share of the steps in which a block is open, in %; for plain LoRA it is 100.
    steps_open = {m: summary([own.history.mask.double().mean().item() * 100 for own in runs]) for m, runs in trained.items()}
    numbers = {"rate": rate, "columns": columns, "differences": differences, "open": steps_open}
    return Section(numbers, (), {"growth": growth_figure({m: runs[0] for m, runs in trained.items()})})


def _ends() -> range:
    return range(EVERY, STEPS + 1, EVERY)


def _at(own: Growth, name: str, end: int) -> float:
    if name.startswith("length"):
        return own.mean_length[end - 1].item()
    values = own.grad_norm if name.startswith("gradient") else own.history.loss
    return values[end - _WINDOW : end].double().median().item()


def text(legs: Mapping[str, Numbers]) -> str:
    """The topic's section of the page, in Markdown."""
    numbers = legs[DIGITS.name]["growth"]
    header = ["after step", *(cell for name in _AXES for cell in (f"{name}: LoRA", "CoTo", "LoRA - CoTo"))]
    rows = []
    for t in map(str, _ends()):
        row = [t]
        for name, digits in _AXES.items():
            own = numbers["columns"][name]
            row += [spread(own[m][t], digits) for m in SWEPT] + [interval(numbers["differences"][name][t], digits)]
        rows.append(row)
    share = {m: spread(own) for m, own in numbers["open"].items()}
    words = "length of the updates, gradient norm and training loss of one seed of LoRA and of CoTo, digits"
    return f"""### What happens before LoRA collapses

On the digits alone, the table has the first {STEPS} of 800 steps at {numbers["rate"]:g}, with seeds {SEEDS[0]} to {SEEDS[-1]}.
The gradient norm (before clipping, of the whole adapter) and the loss are medians of {_WINDOW} steps. A block of LoRA is open
in {share["LoRA"]}% of these steps, a block of CoTo in {share["CoTo"]}%. These steps were looked at after the sweep, and they
explain nothing by themselves; notebook 03 has experiments.

{table(header, rows)}

{figure(DIGITS.name, "growth", words)}
"""
