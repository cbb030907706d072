"""Topic 9: dropped blocks, and the two theorems about them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from coto_lab.figures.stability import barrier_figure, stability_figure
from coto_lab.probes.stability import Stability, stability
from coto_lab.probes.theory import BarrierBound, barrier_bound, jensen
from coto_lab.studies.evidence.lab import PART, Lab
from coto_lab.studies.evidence.markdown import figure, interval, on_each, spread, table
from coto_lab.studies.evidence.records import PAIRS, Claim, Numbers, Section, against_lora, compare
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.gallery import SWEPT
from coto_lab.studies.legs import Leg

_ALL = 10_000  # more than the number of masks with the same number of open blocks, so that all masks are scored
_ROUNDING = 1e-6  # nats


def values(lab: Lab) -> Values:
    """Scores with dropped blocks, on every `PART`-th test example.

    ``masks``: 0 or 1, ``[masks, blocks]``. ``accuracy``, shares of 1: method -> ``[seeds, masks]``. ``barrier``,
    ``mean_change`` and ``worst_change``, in nats: method -> ``[pairs]``; ``within``: the same, 1 where the barrier is at most
    the worst change, and 0 elsewhere. ``gap``, where the task has classes: both sides' difference in theorem 3.1, in nats:
    method -> ``[seeds, ps]``.
    """
    evaluator = lab.part_evaluator
    records = {m: [stability(lab.part, own, samples=_ALL, evaluator=evaluator) for own in lab.adapters(m)] for m in SWEPT}
    found: Values = {
        "examples": torch.tensor(lab.part.size("test")),
        "masks": records["LoRA"][0].masks.double(),
        "accuracy": {m: torch.stack([record.accuracy for record in own]) for m, own in records.items()},
    }
    if lab.task.classes:
        found["gap"] = {
            m: torch.stack([jensen(lab.part, own, evaluator=evaluator).gap for own in lab.adapters(m)]) for m in SWEPT
        }
    bounds = {m: barrier_bound(lab.part, lab.adapters(m), alphas=5, how=("fuse",), evaluator=evaluator) for m in SWEPT}
    return found | {
        "barrier": {m: bound.barriers["fuse"] for m, bound in bounds.items()},
        "mean_change": {m: bound.mean_change for m, bound in bounds.items()},
        "worst_change": {m: bound.worst_change for m, bound in bounds.items()},
        "within": {m: bound.within("fuse").double() for m, bound in bounds.items()},
    }


def judge(found: Values, leg: Leg) -> Section:
    """Numbers, claims and figures of this topic; ``found`` holds the values of all topics."""
    own = found["stability"]
    masks = own["masks"].bool()
    records = {m: [Stability(masks, seed, torch.full_like(seed, torch.nan)) for seed in own["accuracy"][m]] for m in SWEPT}
    opened = {
        f"{words} mask": against_lora({m: [_half(record, of) for record in records[m]] for m in SWEPT})
        for words, of in (("mean", "mean"), ("worst", "min"))
    }
    nats = {
        "barrier of fusion": against_lora(own["barrier"], PAIRS),
        "loss change with half of the blocks dropped": against_lora(own["mean_change"], PAIRS),
    }
    claims = [
        Claim(
            topic=9,
            grid=f"all masks of {masks.shape[1] // 2} of {masks.shape[1]} blocks",
            text="With half of the blocks open, CoTo is better (mean over all masks): it is dropout stable",
            paper="the premise of its theory; no number",
            kind="above",
            parts={"": compare(opened["mean mask"]["CoTo"], opened["mean mask"]["LoRA"])},
        )
    ]
    if "gap" in own:
        nats["gap of theorem 3.1 at p = 1/2"] = against_lora({m: gap[:, gap.shape[1] // 2] for m, gap in own["gap"].items()})
        claims.append(
            Claim(
                topic=9,
                text="Theorem 3.1: the expected loss under dropped blocks is not below that of the mean predictions (runs)",
                paper="proved",
                kind="count",
                counts={m: (int((gap >= -_ROUNDING).all(1).sum()), len(gap)) for m, gap in own["gap"].items()},
            )
        )
    claims.append(
        Claim(
            topic=9,
            text="A barrier is at most the loss change under dropped blocks (pairs; worst mask, our reading)",
            paper="a bound with constants; no number",
            kind="count",
            # The mean over several tasks is 1 where it is so on every task.
            counts={m: (int((within == 1).sum()), len(within)) for m, within in own["within"].items()},
        )
    )
    pairs = torch.tensor(PAIRS)
    bounds = {m: BarrierBound(pairs, own["mean_change"][m], own["worst_change"][m], {"fuse": own["barrier"][m]}) for m in SWEPT}
    numbers = {"images": int(own["examples"]), "open": opened, "nats": nats}
    return Section(numbers, claims, {"stability": stability_figure(records), "barrier": barrier_figure(bounds)})


def _half(record: Stability, of: str) -> float:
    accuracy = record.spread()[of]
    return 100 * accuracy[len(accuracy) // 2].item()


def text(legs: Mapping[str, Numbers]) -> str:
    """The topic's section of the page, in Markdown."""

    def part(leg: str, numbers: Numbers) -> str:
        own = numbers["stability"]
        rows = [_row(f"accuracy with half of the blocks open, {name}, %", scores, 1) for name, scores in own["open"].items()]
        rows += [_row(f"{name}, nats", scores, 3) for name, scores in own["nats"].items()]
        drawn = figure(leg, "stability", f"test accuracy against the share of open blocks, {leg}")
        return f"{table(['', *SWEPT, 'CoTo - LoRA'], rows)}\n\n{drawn}"

    examples = ", ".join(f"{numbers['stability']['images']} test examples of the {leg}" for leg, numbers in legs.items())
    words = "barrier of fusion against the loss change with half of the blocks dropped"
    drawn = "\n\n".join(figure(leg, "barrier", f"{words}, {leg}") for leg in legs)
    return f"""## 9. Dropped blocks

All masks over the blocks are scored on {examples} (every {PART}th), for five seeds. Barriers are those of ten pairs, each on a
line of five points.

{on_each(legs, part)}

Theorem 3.1 is Jensen's inequality and holds for any adapter, at every p. So the count above only checks the arithmetic, and
does not speak for CoTo. It is about class logits, which the strings do not have. The bound on the barrier has constants that we
do not have. So the figure only shows whether barriers are below loss changes, and whether the two grow together.

{drawn}
"""


def _row(name: str, scores: Numbers, digits: int) -> list[str]:
    cells = [spread(scores[method], digits) for method in SWEPT]
    return [name, *cells, interval(scores["CoTo"]["difference"], digits)]
