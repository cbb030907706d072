"""Topic 6: the contribution of each block."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from coto_lab.figures.shapley import shapley_figure, shapley_map_figure
from coto_lab.probes.shapley import ShapleyValues, shapley
from coto_lab.probes.shapley_from_training import agreement, owen_estimate
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.studies.evidence.lab import PART, Lab
from coto_lab.studies.evidence.markdown import figure, interval, on_each, spread, table
from coto_lab.studies.evidence.records import Claim, Numbers, Section, against_lora, compare, summary
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.gallery import SWEPT
from coto_lab.studies.legs import DIGITS, Leg

ORDERS = 10  # random orders of the modules for the map


def values(lab: Lab) -> Values:
    """Exact Shapley values of the blocks, in shares of 1: method -> ``[seeds, blocks]``, and what follows from them.

    ``spread`` (the coefficient of variation) and ``top_half`` (the share of the upper half, in %) are ``[seeds]``. The digits
    also have ``owen`` (correlations of Owen's estimates with the values in nats, ``[seeds]``), which needs the histories, and
    the ``modules`` of one seed, for the map.
    """
    exact = {m: [shapley(lab.part, own, evaluator=lab.part_evaluator) for own in lab.adapters(m)] for m in SWEPT}
    blocks = {m: torch.stack([record.values for record in own]) for m, own in exact.items()}
    n_blocks = blocks["LoRA"].shape[1]
    found = {
        "examples": torch.tensor(lab.part.size("test")),
        "blocks": blocks,
        "spread": {m: torch.tensor([record.spread for record in own], dtype=torch.float64) for m, own in exact.items()},
        "top_half": {m: 100 * own[:, n_blocks // 2 :].sum(1) / own.sum(1) for m, own in blocks.items()},
    }
    return found | _of_histories(lab) if lab.leg == DIGITS else found


def _of_histories(lab: Lab) -> Values:
    evaluator = Evaluator(lab.small_part)
    modules = {
        m: shapley(lab.small_part, lab.adapters(m)[0], players="module", method="sampling", samples=ORDERS, evaluator=evaluator)
        for m in SWEPT
    }
    in_nats = [shapley(lab.part, own, value="loss", evaluator=lab.part_evaluator) for own in lab.adapters("CoTo")]
    owen = [owen_estimate(run.history) for run in lab.runs("CoTo")]
    agreements = [agreement(estimate, found) for estimate, found in zip(owen, in_nats, strict=True)]
    return {
        "map_examples": torch.tensor(lab.small_part.size("test")),
        "modules": modules,
        "owen": {
            name: torch.tensor([getattr(found, name) for found in agreements], dtype=torch.float64)
            for name in ("pearson", "spearman")
        },
    }


def judge(found: Values, leg: Leg) -> Section:
    """Numbers, claims and figures of this topic; ``found`` holds the values of all topics."""
    own = found["shapley"]
    cv, top = against_lora(own["spread"]), against_lora(own["top_half"])
    claims = [
        Claim(
            topic=6,
            text="CoTo's Shapley values are spread more evenly over the blocks (coefficient of variation)",
            paper="CoTo's blocks deviate by ±8%, LoRA has 69% of the mass in the top 4 of 12 blocks (second hand)",
            kind="below",
            unit="",
            decimals=2,
            parts={"": compare(cv["CoTo"], cv["LoRA"])},
        ),
        Claim(
            topic=6,
            text="LoRA's Shapley values concentrate in the top blocks (share of the top half, in excess of 50)",
            paper="69% in the top 4 of 12 blocks (second hand); in the last blocks of the vision tower (figure r5)",
            kind="above",
            parts={"": compare(top["LoRA"], 50.0)},
        ),
    ]
    numbers: Numbers = {
        "images": int(own["examples"]),
        "spread": cv,
        "top_half": top,
        "blocks": {m: [summary(100 * column) for column in values.T] for m, values in own["blocks"].items()},
    }
    players = tuple(str(block) for block in range(own["blocks"]["LoRA"].shape[1]))
    records = {
        m: [ShapleyValues(players, seed, "accuracy", "exact", math.nan, math.nan) for seed in values]
        for m, values in own["blocks"].items()
    }
    figures = {"shapley": shapley_figure(records)}
    if "owen" in own:
        numbers |= {
            "map_images": int(own["map_examples"]),
            "owen": {name: summary(correlation) for name, correlation in own["owen"].items()},
        }
        claims.append(
            Claim(
                topic=6,
                text="Owen's formula over the training steps gives CoTo's Shapley values (Pearson correlation above 0)",
                paper="the formula is the paper's, no correlation is reported",
                kind="above",
                unit="",
                decimals=2,
                parts={"": compare(numbers["owen"]["pearson"], 0.0)},
            )
        )
        figures["shapley_map"] = shapley_map_figure(own["modules"])
    return Section(numbers, claims, figures)


def text(legs: Mapping[str, Numbers]) -> str:
    """The topic's section of the page, in Markdown."""

    def part(leg: str, numbers: Numbers) -> str:
        own = numbers["shapley"]
        header = ["", *[f"block {i}" for i in range(len(own["blocks"]["LoRA"]))]]
        rows = [[method, *[spread(block) for block in blocks]] for method, blocks in own["blocks"].items()]
        both = table(
            ["", *SWEPT, "CoTo - LoRA"],
            [
                _row("coefficient of variation", own["spread"], 2),
                _row("share of the top half of the blocks, %", own["top_half"], 1),
            ],
        )
        drawn = figure(leg, "shapley", f"Shapley value of every block, LoRA and CoTo, {leg}")
        return f"{table(header, rows)}\n\n{both}\n\n{drawn}"

    first = next(iter(legs.values()))["shapley"]
    examples = ", ".join(f"{numbers['shapley']['images']} test examples of the {leg}" for leg, numbers in legs.items())
    with_owen = {leg: numbers["shapley"] for leg, numbers in legs.items() if "owen" in numbers["shapley"]}
    more = "\n\n".join(_digits_only(leg, own) for leg, own in with_owen.items())
    return f"""## 6. Shapley values

The values are exact, over all {2 ** len(first["blocks"]["LoRA"])} coalitions of blocks, in points of accuracy on {examples}
(every {PART}th), as mean ± sd over five seeds.

{on_each(legs, part)}

{more}
"""


def _digits_only(leg: str, own: Numbers) -> str:
    pearson, spearman = (spread(own["owen"][name], 2) for name in ("pearson", "spearman"))
    return f"""On the {leg} alone, the values by module are estimated from {ORDERS} random orders, on {own["map_images"]} test
images, for one seed of each method. This map is an illustration and not evidence.

{figure(leg, "shapley_map", f"estimated Shapley values by block and query, key, value, {leg}")}

Owen's formula estimates Shapley values from the steps of a CoTo training. It needs every step's loss, which the gallery has for
the {leg} alone. The correlation of the estimates with the exact values in nats, over the blocks and for five seeds, is
{pearson} (Pearson) and {spearman} (Spearman)."""


def _row(name: str, scores: Numbers, digits: int) -> list[str]:
    cells = [spread(scores[method], digits) for method in SWEPT]
    return [name, *cells, interval(scores["CoTo"]["difference"], digits)]
