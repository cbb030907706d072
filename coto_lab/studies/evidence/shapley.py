"""Topic 6: the contribution of each block."""

from __future__ import annotations

import torch

from coto_lab.figures.shapley import shapley_figure, shapley_map_figure
from coto_lab.probes.shapley import shapley
from coto_lab.probes.shapley_from_training import agreement, owen_estimate
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.studies.evidence.lab import PART, Lab
from coto_lab.studies.evidence.markdown import figure, interval, spread, table
from coto_lab.studies.evidence.records import Claim, Numbers, Section, against_lora, compare, summary
from coto_lab.studies.gallery import SWEPT

ORDERS = 10  # random orders of the modules for the map


def measure(lab: Lab, done: Numbers) -> Section:
    """Numbers, claims and figures of this topic; ``done`` holds the numbers of topics measured before."""
    exact = {m: [shapley(lab.part, run, evaluator=lab.part_evaluator) for run in lab.runs(m)] for m in SWEPT}
    values = {m: torch.stack([record.values for record in own]) * 100 for m, own in exact.items()}
    n_blocks = values["LoRA"].shape[1]
    cv = against_lora({m: [record.spread for record in own] for m, own in exact.items()})
    top = against_lora({m: (100 * v[:, n_blocks // 2 :].sum(1) / v.sum(1)).tolist() for m, v in values.items()})
    evaluator = Evaluator(lab.small_part)
    modules = {
        m: shapley(lab.small_part, lab.runs(m)[0], players="module", method="sampling", samples=ORDERS, evaluator=evaluator)
        for m in SWEPT
    }
    in_nats = [shapley(lab.part, run, value="loss", evaluator=lab.part_evaluator) for run in lab.runs("CoTo")]
    owen = [owen_estimate(run.history) for run in lab.runs("CoTo")]
    agreements = [agreement(estimate, found) for estimate, found in zip(owen, in_nats, strict=True)]
    correlation = {
        "pearson": summary([found.pearson for found in agreements]),
        "spearman": summary([found.spearman for found in agreements]),
    }
    claims = [
        Claim(
            topic=6,
            text="CoTo's Shapley values are spread more evenly over the blocks (coefficient of variation)",
            paper="CoTo's blocks deviate by ±8%, LoRA has 69% of the mass in the top 4 of 12 blocks (second hand)",
            kind="below",
            unit="",
            digits=2,
            parts={"": compare(cv["CoTo"], cv["LoRA"])},
        ),
        Claim(
            topic=6,
            text="LoRA's Shapley values concentrate in the top blocks (share of the top half, in excess of 50)",
            paper="69% in the top 4 of 12 blocks (second hand); in the last blocks of the vision tower (figure r5)",
            kind="above",
            parts={"": compare(top["LoRA"], 50.0)},
        ),
        Claim(
            topic=6,
            text="Owen's formula over the training steps gives CoTo's Shapley values (Pearson correlation above 0)",
            paper="the formula is the paper's, no correlation is reported",
            kind="above",
            unit="",
            digits=2,
            parts={"": compare(correlation["pearson"], 0.0)},
        ),
    ]
    numbers = {
        "images": lab.part.size("test"),
        "map_images": lab.small_part.size("test"),
        "spread": cv,
        "top_half": top,
        "blocks": {m: [summary(column) for column in v.T.tolist()] for m, v in values.items()},
        "owen": correlation,
    }
    figures = {"shapley": shapley_figure(exact), "shapley_map": shapley_map_figure(modules)}
    return Section(numbers, claims, figures)


def text(evidence: Numbers) -> str:
    """The topic's section of the page, in Markdown."""
    numbers = evidence["shapley"]
    blocks = numbers["blocks"]
    header = ["", *[f"block {i}" for i in range(len(blocks["LoRA"]))]]
    rows = [[method, *[spread(block) for block in own]] for method, own in blocks.items()]
    both = table(
        ["", *SWEPT, "CoTo - LoRA"],
        [
            _row("coefficient of variation", numbers["spread"], 2),
            _row("share of the top half of the blocks, %", numbers["top_half"], 1),
        ],
    )
    pearson, spearman = (spread(numbers["owen"][name], 2) for name in ("pearson", "spearman"))
    return f"""## 6. Shapley values

The values are exact, over all {2 ** len(blocks["LoRA"])} coalitions of blocks, in points of accuracy on {numbers["images"]}
test images (every {PART}th), as mean ± sd over five seeds.

{table(header, rows)}

{both}

{figure("shapley", "Shapley value of every block, LoRA and CoTo")}

The values by module are estimated from {ORDERS} random orders, on {numbers["map_images"]} test images, for one seed of each
method. This map is an illustration and not evidence.

{figure("shapley_map", "estimated Shapley values by block and query, key, value")}

Owen's formula estimates Shapley values from the steps of a CoTo training. The correlation of the estimates with the exact
values in nats, over the blocks and for five seeds, is {pearson} (Pearson) and {spearman} (Spearman).
"""


def _row(name: str, scores: Numbers, digits: int) -> list[str]:
    cells = [spread(scores[method], digits) for method in SWEPT]
    return [name, *cells, interval(scores["CoTo"]["difference"], digits)]
