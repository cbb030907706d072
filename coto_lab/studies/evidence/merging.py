"""Topic 3: fusions and ensembles of two and three seeds."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from coto_lab.figures.pairs import pairs_figure
from coto_lab.merging.merge import merge
from coto_lab.probes.interpolation import Curve
from coto_lab.scoring.variant import Variant
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import figure, interval, method_table, spread, table
from coto_lab.studies.evidence.records import PAIRS, TRIPLES, Claim, Numbers, Section, against_lora, compare
from coto_lab.studies.gallery import METHODS, SWEPT

ALPHAS = (0.0, 1 / 3, 1 / 2, 2 / 3, 1.0)
_HALF = ALPHAS.index(1 / 2)


def measure(lab: Lab, done: Numbers) -> Section:
    """Numbers, claims and figures of this topic; ``done`` holds the numbers of topics measured before."""
    curves = {method: _curves(lab, method) for method in METHODS}
    middle = {method: [100 * curve.accuracy[_HALF].item() for curve in own] for method, own in curves.items()}
    # The mixtures 1:2 and 2:1 of a pair are made of the same two runs, so the pair's value is the mean of both.
    third = {m: [50 * (c.accuracy[_HALF - 1] + c.accuracy[_HALF + 1]).item() for c in own] for m, own in curves.items()}
    three: dict[str, list[float]] = {}
    ensemble: dict[str, list[float]] = {}
    for method in METHODS:
        seeds = lab.adapters(method)
        fused = [merge([seeds[i] for i in triple]) for triple in TRIPLES]
        mixed = [merge([seeds[i] for i in pair], "ensemble") for pair in PAIRS]
        both = lab.score(fused + mixed)
        three[method], ensemble[method] = both[: len(fused)], both[len(fused) :]
    scores = {
        "1:1": against_lora(middle, PAIRS),
        "1:2": against_lora(third, PAIRS),
        "1:1:1": against_lora(three, TRIPLES),
        "ensemble 1:1": against_lora(ensemble, PAIRS),
    }
    # PEFT's linear add_weighted_adapter multiplies the factors by the square roots of the weights, so that each run's own
    # update has a weight of one half.
    root = 0.5**0.5
    rooted = {m: lab.score([merge([lab.adapters(m)[i] for i in pair], weights=[root, root]) for pair in PAIRS]) for m in SWEPT}
    roots = against_lora(rooted, PAIRS)
    loss = against_lora({m: [c.loss[_HALF].item() for c in own] for m, own in curves.items()}, PAIRS)

    def claim(column: str, words: str, paper: str, groups: Sequence[Sequence[int]] = PAIRS) -> Claim:
        parts = {"": compare(scores[column]["CoTo"], scores[column]["LoRA"], groups)}
        return Claim(topic=3, text=words, paper=paper, kind="above", parts=parts)

    claims = [
        claim(
            "1:1",
            "Fused 1:1, two seeds of CoTo are better than two of LoRA",
            "DTD 72.0 against 65.6, UCF101 86.7 against 81.5 (table r3)",
        ),
        claim("1:2", "Fused 1:2, two seeds of CoTo are better than two of LoRA", "ahead (figure r2)"),
        claim(
            "1:1:1",
            "Fused 1:1:1, three seeds of CoTo are better than three of LoRA",
            "DTD 69.7 against 59.6 (figure r2)",
            TRIPLES,
        ),
        claim(
            "ensemble 1:1",
            "In an ensemble (average of ΔW), CoTo is better than LoRA",
            "six GLUE tasks merged: 57.2 against 53.0 (table r1); nine tasks on LLaMA-2-7B: 56.7 against 56.8",
        ),
        Claim(
            topic=3,
            text="Fused 1:1 by PEFT's own rule (factors times the roots of the weights), CoTo is better",
            paper="not reported",
            kind="above",
            parts={"": compare(roots["CoTo"], roots["LoRA"], PAIRS)},
        ),
    ]
    return Section({"scores": scores, "roots": roots, "loss": loss}, claims, {"interpolation": pairs_figure(curves)})


def _curves(lab: Lab, method: str) -> list[Curve]:
    """Scores of all pairs of seeds on the lines between the two runs of a pair."""
    seeds = lab.adapters(method)
    ends = (torch.tensor(lab.accuracy(method)).double() / 100, torch.tensor(lab.loss(method)).double())
    mixtures = [merge([seeds[i], seeds[j]], weights=[1 - a, a]) for i, j in PAIRS for a in ALPHAS[1:-1]]
    inner = lab.evaluator([Variant(adapter) for adapter in mixtures])
    curves = []
    for position, (i, j) in enumerate(PAIRS):
        rows = slice(position * len(ALPHAS[1:-1]), (position + 1) * len(ALPHAS[1:-1]))
        accuracy, loss = (
            torch.cat([end[[i]], between[rows], end[[j]]])
            for end, between in zip(ends, (inner.accuracy, inner.loss), strict=True)
        )
        curves.append(Curve(torch.tensor(ALPHAS, dtype=torch.float64), accuracy, loss, "fuse"))
    return curves


def text(evidence: Numbers) -> str:
    """The topic's section of the page, in Markdown."""
    scores = evidence["merging"]["scores"]
    paper = table(
        ["table r3, mean ± sd", "DTD alone", "DTD 1:1", "UCF101 alone", "UCF101 1:1"],
        [
            ["LoRA", "71.6 ± 0.4", "65.6 ± 1.2", "86.2", "81.5"],
            ["dropout", "72.0 ± 1.0", "65.9 ± 1.9", "86.7", "81.0"],
            ["stochastic depth", "71.4 ± 1.2", "68.9 ± 2.5", "85.8", "83.9"],
            ["CoTo", "72.7 ± 0.4", "72.0 ± 0.9", "87.2", "86.7"],
        ],
    )
    columns = {
        "1:1": scores["1:1"],
        "1:2": scores["1:2"],
        "1:1:1": scores["1:1:1"],
        "ensemble 1:1": scores["ensemble 1:1"],
    }
    roots = evidence["merging"]["roots"]
    return f"""## 3. Merging

Fusion averages the factors A and B of two or three seeds; an ensemble averages the updates ΔW. The table has the test accuracy
in %, as mean ± sd over all ten pairs (for 1:1:1, all ten triples) of the five seeds, and below it the difference to LoRA. A
pair's value for 1:2 is the mean of its fusions 1:2 and 2:1.

{method_table(columns)}

{figure("interpolation", "accuracy and loss on the lines between pairs of seeds, by fusion")}

The weights of the factors matter. An average (weights of one half) leaves a quarter of each run's own update. PEFT's
`add_weighted_adapter` with `combination_type="linear"` takes the square roots of the weights, which leaves a half. Fused 1:1 in
this way, LoRA has {spread(roots["LoRA"])} and CoTo {spread(roots["CoTo"])}; the difference is
{interval(roots["CoTo"]["difference"])}.

The paper reports:

{paper}
"""
