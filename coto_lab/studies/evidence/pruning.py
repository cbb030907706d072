"""Topic 4: the accuracy without some adapters, or without some of their entries."""

from __future__ import annotations

from dataclasses import asdict

import plotly.graph_objects as go
import torch

from coto_lab.figures.pruning import pruning_figure
from coto_lab.figures.sparsity import sparsity_figure
from coto_lab.probes.pruning import PruningTable, paper_patterns
from coto_lab.probes.sparsity import SparsityCurve, sparsity_curve
from coto_lab.scoring.variant import Variant
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import figure, interval, method_table, spread, table
from coto_lab.studies.evidence.records import ONE_RATE, Claim, Numbers, Section, against_lora, compare, summary
from coto_lab.studies.gallery import METHODS, SWEPT

SPARSITIES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)


def measure(lab: Lab, done: Numbers) -> Section:
    """Numbers, claims and figures of this topic; ``done`` holds the numbers of topics measured before."""
    masks = paper_patterns(lab.evaluator.sites(lab.adapters("LoRA")[0]))
    patterns = [name for name in masks if name not in ("all", "none")]
    base = lab.base[0]
    columns: dict[str, dict[str, list[float]]] = {pattern: {} for pattern in patterns}
    for method in METHODS:
        variants = [Variant(adapter, masks[pattern]) for pattern in patterns for adapter in lab.adapters(method)]
        accuracy = (100 * lab.evaluator(variants).accuracy).reshape(len(patterns), -1)
        for pattern, values in zip(patterns, accuracy.tolist(), strict=True):
            columns[pattern][method] = values
    scores = {pattern: against_lora(values) for pattern, values in columns.items()}
    curves = {method: _sparsity_curves(lab, method) for method in SWEPT}
    sparse = {
        method: {f"{share:g}": summary((100 * values).tolist()) for share, values in zip(SPARSITIES, own, strict=True)}
        for method, own in ((m, torch.stack([c.accuracy for c in cs], dim=1)) for m, cs in curves.items())
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
            grid=f"{ONE_RATE}; {len(patterns)} patterns",
            paper="ahead in all, by 4 to 7 points in most; average of eleven data sets (figure r7)",
            kind="above",
            parts={pattern: compare(scores[pattern]["CoTo"], scores[pattern]["LoRA"]) for pattern in patterns},
        ),
        Claim(
            topic=4,
            text="With the smaller half of the entries set to 0, CoTo is better",
            grid=f"{ONE_RATE}; sparsity 50% of six",
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
    return Section(numbers, claims, {"pruning": _pattern_figure(scores, base), "sparsity": sparsity_figure(curves)})


def _sparsity_curves(lab: Lab, method: str) -> list[SparsityCurve]:
    """Curves from the whole adapter to the base model; the scores of these two ends are already known."""
    curves = []
    for run, accuracy, loss in zip(lab.runs(method), lab.accuracy(method), lab.loss(method), strict=True):
        inner = sparsity_curve(lab.task, run, SPARSITIES[1:-1], evaluator=lab.evaluator)
        ends = [(accuracy / 100, loss), (lab.base[0] / 100, lab.base[1])]
        values = (
            torch.tensor([first, *scores.tolist(), last], dtype=torch.float64)
            for first, scores, last in zip(ends[0], (inner.accuracy, inner.loss), ends[1], strict=True)
        )
        curves.append(SparsityCurve(torch.tensor(SPARSITIES, dtype=torch.float64), *values))
    return curves


def _pattern_figure(scores: dict[str, dict[str, Numbers]], base: float) -> go.Figure:
    patterns = (*scores, "none")
    tables = {}
    for method in METHODS:
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


def text(evidence: Numbers) -> str:
    """The topic's section of the page, in Markdown."""
    numbers = evidence["pruning"]
    shares = list(numbers["sparsity"]["LoRA"])
    rows = [
        [
            f"{float(share):.0%}",
            *[spread(numbers["sparsity"][method][share]) for method in SWEPT],
            interval(numbers["sparsity_difference"][share]),
        ]
        for share in shares
    ]
    return f"""## 4. Pruning

Only some of the adapters are kept, and nothing is trained again. The table has the test accuracy in % over five seeds, and
below it the difference to LoRA. The base model without an adapter has {numbers["base"]:.1f}.

{method_table(numbers["scores"])}

{figure("pruning", "test accuracy of the pruning patterns, all methods")}

In unstructured pruning, the smallest entries of A and B, ranked over the whole adapter, are set to 0.

{table(["sparsity", "LoRA", "CoTo", "CoTo - LoRA"], rows)}

{figure("sparsity", "test accuracy against the share of entries set to 0")}
"""
