"""Topic 3: fusions and ensembles of two and three seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from coto_lab.figures.pairs import pairs_figure
from coto_lab.merging.merge import merge
from coto_lab.probes.interpolation import Curve
from coto_lab.scoring.variant import Variant
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import figure, interval, method_table, on_each, spread, table
from coto_lab.studies.evidence.records import PAIRS, TRIPLES, Claim, Numbers, Section, against_lora, compare
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.gallery import SWEPT
from coto_lab.studies.legs import Leg

ALPHAS = (0.0, 1 / 3, 1 / 2, 2 / 3, 1.0)
HALF = ALPHAS.index(1 / 2)


def values(lab: Lab) -> Values:
    """Scores of mixtures of all pairs or triples of seeds.

    ``accuracy`` (shares of 1) and ``loss``: method -> ``[pairs, alphas]``, on the lines between the two runs of a pair, by
    fusion. ``three``, ``ensemble`` and ``roots``: method -> test accuracy in %, ``[triples]`` or ``[pairs]``.
    """
    found: Values = {name: {} for name in ("accuracy", "loss", "three", "ensemble", "roots")}
    for method in lab.leg.methods:
        found["accuracy"][method], found["loss"][method] = _curves(lab, method)
        seeds = lab.adapters(method)
        fused = [merge([seeds[i] for i in triple]) for triple in TRIPLES]
        mixed = [merge([seeds[i] for i in pair], "ensemble") for pair in PAIRS]
        both = torch.tensor(lab.score(fused + mixed), dtype=torch.float64)
        found["three"][method], found["ensemble"][method] = both.split([len(fused), len(mixed)])
    # PEFT's linear add_weighted_adapter multiplies the factors by the square roots of the weights, so that each run's own
    # update has a weight of one half.
    root = 0.5**0.5
    for method in SWEPT:
        rooted = [merge([lab.adapters(method)[i] for i in pair], weights=[root, root]) for pair in PAIRS]
        found["roots"][method] = torch.tensor(lab.score(rooted), dtype=torch.float64)
    return found


def _curves(lab: Lab, method: str) -> tuple[Tensor, Tensor]:
    """Accuracy and loss of all pairs of seeds on the lines between the two runs of a pair, each ``[pairs, alphas]``."""
    seeds = lab.adapters(method)
    ends = (torch.tensor(lab.accuracy(method)).double() / 100, torch.tensor(lab.loss(method)).double())
    mixtures = [merge([seeds[i], seeds[j]], weights=[1 - a, a]) for i, j in PAIRS for a in ALPHAS[1:-1]]
    scores = lab.evaluator([Variant(adapter) for adapter in mixtures])
    first, second = torch.tensor(PAIRS).T
    accuracy, loss = (
        torch.cat([end[first, None], inner.reshape(len(PAIRS), -1), end[second, None]], dim=1)
        for end, inner in zip(ends, (scores.accuracy, scores.loss), strict=True)
    )
    return accuracy, loss


def judge(found: Values, leg: Leg) -> Section:
    """Numbers, claims and figures of this topic; ``found`` holds the values of all topics."""
    own = found["merging"]
    middle = {method: 100 * accuracy[:, HALF] for method, accuracy in own["accuracy"].items()}
    # The mixtures 1:2 and 2:1 of a pair are made of the same two runs, so the pair's value is the mean of both.
    third = {method: 50 * (accuracy[:, HALF - 1] + accuracy[:, HALF + 1]) for method, accuracy in own["accuracy"].items()}
    scores = {
        "1:1": against_lora(middle, PAIRS),
        "1:2": against_lora(third, PAIRS),
        "1:1:1": against_lora(own["three"], TRIPLES),
        "ensemble 1:1": against_lora(own["ensemble"], PAIRS),
    }
    roots = against_lora(own["roots"], PAIRS)
    loss = against_lora({method: values[:, HALF] for method, values in own["loss"].items()}, PAIRS)

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
    alphas = torch.tensor(ALPHAS, dtype=torch.float64)
    curves = {
        method: [Curve(alphas, *pair, "fuse") for pair in zip(own["accuracy"][method], own["loss"][method], strict=True)]
        for method in own["accuracy"]
    }
    return Section({"scores": scores, "roots": roots, "loss": loss}, claims, {"interpolation": pairs_figure(curves)})


def text(legs: Mapping[str, Numbers]) -> str:
    """The topic's section of the page, in Markdown."""
    paper = table(
        ["table r3, mean ± sd", "DTD alone", "DTD 1:1", "UCF101 alone", "UCF101 1:1"],
        [
            ["LoRA", "71.6 ± 0.4", "65.6 ± 1.2", "86.2", "81.5"],
            ["dropout", "72.0 ± 1.0", "65.9 ± 1.9", "86.7", "81.0"],
            ["stochastic depth", "71.4 ± 1.2", "68.9 ± 2.5", "85.8", "83.9"],
            ["CoTo", "72.7 ± 0.4", "72.0 ± 0.9", "87.2", "86.7"],
        ],
    )

    def part(leg: str, numbers: Numbers) -> str:
        drawn = figure(leg, "interpolation", f"accuracy and loss on the lines between pairs of seeds, by fusion, {leg}")
        return f"{method_table(numbers['merging']['scores'])}\n\n{drawn}"

    roots = {leg: numbers["merging"]["roots"] for leg, numbers in legs.items()}
    rooted = "; ".join(
        f"on the {leg} LoRA has {spread(own['LoRA'])} and CoTo {spread(own['CoTo'])}, and the difference is "
        f"{interval(own['CoTo']['difference'])}"
        for leg, own in roots.items()
    )
    return f"""## 3. Merging

Fusion averages the factors A and B of two or three seeds; an ensemble averages the updates ΔW. The table has the test accuracy
in %, as mean ± sd over all ten pairs (for 1:1:1, all ten triples) of the five seeds, and below it the difference to LoRA. A
pair's value for 1:2 is the mean of its fusions 1:2 and 2:1.

{on_each(legs, part)}

The weights of the factors matter. An average (weights of one half) leaves a quarter of each run's own update. PEFT's
`add_weighted_adapter` with `combination_type="linear"` takes the square roots of the weights, which leaves a half. Fused 1:1 in
this way, {rooted}.

The paper reports:

{paper}
"""
