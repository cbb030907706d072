"""Topic 4: the accuracy without some adapters, or without some of their entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import plotly.graph_objects as go
import torch
from torch import Tensor

from coto_lab.figures.pruning import pruning_figure
from coto_lab.figures.sparsity import sparsity_figure
from coto_lab.probes.pruning import PruningTable, paper_patterns
from coto_lab.probes.sparsity import SparsityCurve, sparsity_curve
from coto_lab.scoring.variant import Variant
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import figure, interval, method_table, on_each, spread, table
from coto_lab.studies.evidence.records import Claim, Numbers, Section, against_lora, compare, summary
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.gallery import SWEPT
from coto_lab.studies.legs import Leg

SPARSITIES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)


def values(lab: Lab) -> Values:
    """Test accuracy of what is left.

    ``base``, in %: a scalar. ``patterns``, in %: pattern -> method -> ``[seeds]``. ``sparsity``, shares of 1: method ->
    ``[seeds, sparsities]``.
    """
    masks = paper_patterns(lab.evaluator.sites(lab.adapters("LoRA")[0]))
    patterns = [name for name in masks if name not in ("all", "none")]
    columns: dict[str, dict[str, Tensor]] = {pattern: {} for pattern in patterns}
    for method in lab.leg.methods:
        variants = [Variant(adapter, masks[pattern]) for pattern in patterns for adapter in lab.adapters(method)]
        accuracy = (100 * lab.evaluator(variants).accuracy).reshape(len(patterns), -1)
        for pattern, own in zip(patterns, accuracy, strict=True):
            columns[pattern][method] = own
    return {
        "base": torch.tensor(lab.base[0], dtype=torch.float64),
        "patterns": columns,
        "sparsity": {method: _sparsity(lab, method) for method in SWEPT},
    }


def _sparsity(lab: Lab, method: str) -> Tensor:
    """From the whole adapter to the base model; the scores of these two ends are already known."""
    curves = []
    for adapter, accuracy in zip(lab.adapters(method), lab.accuracy(method), strict=True):
        inner = sparsity_curve(lab.task, adapter, SPARSITIES[1:-1], evaluator=lab.evaluator)
        curves.append([accuracy / 100, *inner.accuracy.tolist(), lab.base[0] / 100])
    return torch.tensor(curves, dtype=torch.float64)


def judge(found: Values, leg: Leg) -> Section:
    """Numbers, claims and figures of this topic; ``found`` holds the values of all topics."""
    own = found["pruning"]
    base = own["base"].item()
    scores = {pattern: against_lora(column) for pattern, column in own["patterns"].items()}
    sparse = {
        method: {f"{share:g}": summary(100 * column) for share, column in zip(SPARSITIES, accuracy.T, strict=True)}
        for method, accuracy in own["sparsity"].items()
    }
    sparse_difference = {share: compare(sparse["CoTo"][share], sparse["LoRA"][share]) for share in sparse["LoRA"]}
    every_other = "every other"
    claims = [
        Claim(
            topic=4,
            text="With every other block's adapter kept, CoTo is better",
            paper="DTD 71.1 against 63.3, UCF101 85.4 against 79.3 (table r3)",
            kind="above",
            parts={"": compare(scores[every_other]["CoTo"], scores[every_other]["LoRA"])},
        ),
        Claim(
            topic=4,
            text="CoTo is better in every pruning pattern",
            grid=f"{len(scores)} patterns",
            paper="ahead in all, by 4 to 7 points in most; average of eleven data sets (figure r7)",
            kind="above",
            parts={pattern: compare(scores[pattern]["CoTo"], scores[pattern]["LoRA"]) for pattern in scores},
        ),
        Claim(
            topic=4,
            text="With the smaller half of the entries set to 0, CoTo is better",
            grid="sparsity 50% of six",
            paper="10 points ahead at 50% sparsity (second hand)",
            kind="above",
            parts={"": sparse_difference["0.5"]},
        ),
    ]
    numbers = {
        "base": round(base, 4),
        "scores": scores,
        "sparsity": sparse,
        "sparsity_difference": {share: asdict(difference) for share, difference in sparse_difference.items()},
    }
    points = torch.tensor(SPARSITIES, dtype=torch.float64)
    curves = {
        method: [SparsityCurve(points, seed, torch.full_like(seed, torch.nan)) for seed in accuracy]
        for method, accuracy in own["sparsity"].items()
    }
    return Section(numbers, claims, {"pruning": _pattern_figure(scores, base), "sparsity": sparsity_figure(curves)})


def _pattern_figure(scores: dict[str, dict[str, Numbers]], base: float) -> go.Figure:
    patterns = (*scores, "none")
    tables = {}
    for method in next(iter(scores.values())):
        means = [scores[pattern][method]["mean"] for pattern in scores]
        accuracy = torch.tensor([*means, base], dtype=torch.float64) / 100
        tables[method] = PruningTable(
            patterns, torch.full_like(accuracy, torch.nan), accuracy, torch.full_like(accuracy, torch.nan)
        )
    drawn = pruning_figure(tables)
    for bar in drawn.data:
        if bar.type == "bar":
            deviations = [scores[pattern][bar.name]["sd"] for pattern in bar.x]
            bar.error_y = {"array": deviations, "thickness": 1, "width": 2}
    return drawn.update_yaxes(title="test accuracy, %<br>(mean ± sd, five seeds)")


def text(legs: Mapping[str, Numbers]) -> str:
    """The topic's section of the page, in Markdown."""

    def patterns(leg: str, numbers: Numbers) -> str:
        drawn = figure(leg, "pruning", f"test accuracy of the pruning patterns, all methods, {leg}")
        return f"{method_table(numbers['pruning']['scores'])}\n\n{drawn}"

    def sparsity(leg: str, numbers: Numbers) -> str:
        own = numbers["pruning"]
        rows = [
            [
                f"{float(share):.0%}",
                *[spread(own["sparsity"][method][share]) for method in SWEPT],
                interval(own["sparsity_difference"][share]),
            ]
            for share in own["sparsity"]["LoRA"]
        ]
        drawn = figure(leg, "sparsity", f"test accuracy against the share of entries set to 0, {leg}")
        return f"{table(['sparsity', 'LoRA', 'CoTo', 'CoTo - LoRA'], rows)}\n\n{drawn}"

    base = ", ".join(f"{numbers['pruning']['base']:.1f} on the {leg}" for leg, numbers in legs.items())
    return f"""## 4. Pruning

Only some of the adapters are kept, and nothing is trained again. The table has the test accuracy in % over five seeds, and
below it the difference to LoRA. The base model without an adapter has {base}.

{on_each(legs, patterns)}

In unstructured pruning, the smallest entries of A and B, ranked over the whole adapter, are set to 0.

{on_each(legs, sparsity)}
"""
