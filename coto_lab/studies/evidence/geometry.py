"""Topic 10: the geometry of the adapters."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import torch

from coto_lab.adapters.adapter import Adapter
from coto_lab.figures.geometry import embedding_figure
from coto_lab.probes.geometry import geometry
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import figure, method_table, on_each, spread
from coto_lab.studies.evidence.records import PAIRS, Numbers, Section, against_lora, summary
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.gallery import RATES, SEEDS, SWEPT
from coto_lab.studies.legs import DIGITS, Leg


def values(lab: Lab) -> Values:
    """Angles and lengths of the updates.

    ``cosine`` of two seeds: method -> ``[pairs]``. ``norm``: method -> ``[seeds]``. The cosine ``between`` LoRA and CoTo of a
    seed: ``[seeds]``. The digits also have the ``map`` of their adapters at all rates of their earlier sweep, a figure.
    """
    runs = {f"{method}, seed {seed}": own for method in lab.leg.methods for seed, own in enumerate(lab.adapters(method))}
    of_runs = geometry(runs)
    place = {name: i for i, name in enumerate(of_runs.names)}
    seeds = {m: torch.tensor([place[f"{m}, seed {seed}"] for seed in SEEDS]) for m in lab.leg.methods}
    first, second = torch.tensor(PAIRS).T
    found = {
        "cosine": {m: of_runs.cosine[own[first], own[second]] for m, own in seeds.items()},
        "norm": {m: of_runs.norm[own] for m, own in seeds.items()},
        "between": of_runs.cosine[seeds["LoRA"], seeds["CoTo"]],
    }
    return found | {"map": _map(lab, runs)} if lab.leg == DIGITS else found


def _map(lab: Lab, runs: Mapping[str, Adapter]) -> go.Figure:
    everywhere = dict(runs)
    methods = {name: name.split(",")[0] for name in runs}
    texts = {}
    for method in SWEPT:
        for lr in RATES:
            if lr == lab.leg.methods[method].lr:
                continue
            for seed, adapter in enumerate(lab.adapters(method, lr)):
                name = f"{method}, seed {seed}, {lr:g}"
                everywhere[name], methods[name] = adapter, method
                if seed == 0:
                    texts[name] = f"{lr:g}"
    # At the highest rates, updates are tens of times longer than the others, and PCA would show only these.
    return embedding_figure(geometry(everywhere), methods, texts, how="tsne").update_layout(title=None, height=640)


def judge(found: Values, leg: Leg) -> Section:
    """Numbers and figures of this topic, which has no claims; ``found`` holds the values of all topics."""
    own = found["geometry"]
    numbers = {
        "cosine": against_lora(own["cosine"], PAIRS),
        "norm": against_lora(own["norm"]),
        "between": summary(own["between"]),
    }
    return Section(numbers, [], {"geometry": own["map"]} if "map" in own else {})


def text(legs: Mapping[str, Numbers]) -> str:
    """The topic's section of the page, in Markdown."""

    def part(leg: str, numbers: Numbers) -> str:
        own = numbers["geometry"]
        return method_table({"cosine of two seeds": own["cosine"], "length of ΔW": own["norm"]}, digits=2)

    between = ", ".join(f"{spread(numbers['geometry']['between'], 2)} on the {leg}" for leg, numbers in legs.items())
    words = "t-SNE of all adapters of the digits, all seeds and learning rates; the numbers are the learning rates of seed 0"
    return f"""## 10. Geometry

The updates ΔW of whole adapters are taken as vectors. The table has the cosine between two seeds of a method (ten pairs), and
the length, which is the distance to the pre-trained weights (five seeds), and below them the difference to LoRA. LoRA and CoTo
of the same seed have a cosine of {between}. The paper shows such angles and a t-SNE (figures r4, r9), but no claim of the paper
about them is judged here.

{on_each(legs, part)}

{figure(DIGITS.name, "geometry", words)}
"""
