"""Topic 10: the geometry of the adapters."""

from __future__ import annotations

from coto_lab.adapters.adapter import Adapter
from coto_lab.figures.geometry import embedding_figure
from coto_lab.probes.geometry import geometry
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import figure, method_table, spread
from coto_lab.studies.evidence.records import PAIRS, Numbers, Section, against_lora, summary
from coto_lab.studies.gallery import METHODS, RATES, SEEDS, SWEPT
from coto_lab.training.run import Run


def measure(lab: Lab, done: Numbers) -> Section:
    """Numbers, claims and figures of this topic; ``done`` holds the numbers of topics measured before."""
    runs = {f"{method}, seed {seed}": run for method in METHODS for seed, run in enumerate(lab.runs(method))}
    of_runs = geometry(runs)
    place = {name: i for i, name in enumerate(of_runs.names)}
    cosine = {m: [of_runs.cosine[place[f"{m}, seed {i}"], place[f"{m}, seed {j}"]].item() for i, j in PAIRS] for m in METHODS}
    norm = {m: [of_runs.norm[place[f"{m}, seed {seed}"]].item() for seed in SEEDS] for m in METHODS}
    between = [of_runs.cosine[place[f"LoRA, seed {seed}"], place[f"CoTo, seed {seed}"]].item() for seed in SEEDS]
    numbers = {"cosine": against_lora(cosine, PAIRS), "norm": against_lora(norm), "between": summary(between)}
    everywhere: dict[str, Adapter | Run] = dict(runs)
    methods = {name: name.split(",")[0] for name in runs}
    texts = {}
    for method in SWEPT:
        for lr in RATES:
            if lr == METHODS[method].lr:
                continue
            for seed, adapter in enumerate(lab.adapters(method, lr)):
                name = f"{method}, seed {seed}, {lr:g}"
                everywhere[name], methods[name] = adapter, method
                if seed == 0:
                    texts[name] = f"{lr:g}"
    # At the highest rates, updates are tens of times longer than the others, and PCA would show only these.
    drawn = embedding_figure(geometry(everywhere), methods, texts, how="tsne").update_layout(title=None, height=640)
    return Section(numbers, [], {"geometry": drawn})


def text(evidence: Numbers) -> str:
    """The topic's section of the page, in Markdown."""
    numbers = evidence["geometry"]
    return f"""## 10. Geometry

The updates ΔW of whole adapters are taken as vectors. The table has the cosine between two seeds of a method (ten pairs), and
the length, which is the distance to the pre-trained weights (five seeds), and below them the difference to LoRA. LoRA and CoTo
of the same seed have a cosine of {spread(numbers["between"], 2)}. The paper shows such angles and a t-SNE (figures r4, r9), but
no claim of the paper about them is judged here.

{method_table({"cosine of two seeds": numbers["cosine"], "length of ΔW": numbers["norm"]}, digits=2)}

{figure("geometry", "t-SNE of all adapters, all seeds and learning rates; the numbers are the learning rates of seed 0")}
"""
