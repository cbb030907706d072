"""Topic 9: dropped blocks, and the two theorems about them."""

from __future__ import annotations

from coto_lab.figures.stability import barrier_figure, stability_figure
from coto_lab.probes.stability import stability
from coto_lab.probes.theory import barrier_bound, jensen
from coto_lab.studies.evidence.lab import PART, Lab
from coto_lab.studies.evidence.markdown import figure, interval, spread, table
from coto_lab.studies.evidence.records import ONE_RATE, PAIRS, Claim, Numbers, Section, against_lora, compare
from coto_lab.studies.gallery import SWEPT

_ALL = 10_000  # more than the number of masks with the same number of open blocks, so that all masks are scored
_ROUNDING = 1e-6  # nats


def measure(lab: Lab, done: Numbers) -> Section:
    """Numbers, claims and figures of this topic; ``done`` holds the numbers of topics measured before."""
    evaluator = lab.part_evaluator
    records = {m: [stability(lab.part, run, samples=_ALL, evaluator=evaluator) for run in lab.runs(m)] for m in SWEPT}
    half = {m: [_half(record.spread(), "mean") for record in own] for m, own in records.items()}
    worst = {m: [_half(record.spread(), "min") for record in own] for m, own in records.items()}
    gaps = {m: [jensen(lab.part, run, evaluator=evaluator).gap for run in lab.runs(m)] for m in SWEPT}
    bounds = {m: barrier_bound(lab.part, lab.runs(m), alphas=5, how=("fuse",), evaluator=evaluator) for m in SWEPT}
    opened = {"mean mask": against_lora(half), "worst mask": against_lora(worst)}
    nats = {
        "barrier of fusion": against_lora({m: bound.barriers["fuse"].tolist() for m, bound in bounds.items()}, PAIRS),
        "loss change with half of the blocks dropped": against_lora(
            {m: b.mean_change.tolist() for m, b in bounds.items()}, PAIRS
        ),
        "gap of theorem 3.1 at p = 1/2": against_lora({m: [gap[len(gap) // 2].item() for gap in g] for m, g in gaps.items()}),
    }
    claims = [
        Claim(
            topic=9,
            grid=f"{ONE_RATE}; all masks of 4 of 8 blocks",
            text="With half of the blocks open, CoTo is better (mean over all masks): it is dropout stable",
            paper="the premise of its theory; no number",
            kind="above",
            parts={"": compare(opened["mean mask"]["CoTo"], opened["mean mask"]["LoRA"])},
        ),
        Claim(
            topic=9,
            text="Theorem 3.1: the expected loss under dropped blocks is not below that of the mean predictions (runs)",
            paper="proved",
            kind="count",
            counts={m: (sum(bool((gap >= -_ROUNDING).all()) for gap in own), len(own)) for m, own in gaps.items()},
        ),
        Claim(
            topic=9,
            text="A barrier is at most the loss change under dropped blocks (pairs; worst mask, our reading)",
            paper="a bound with constants; no number",
            kind="count",
            counts={m: (int(bound.within("fuse").sum()), len(bound.pairs)) for m, bound in bounds.items()},
        ),
    ]
    numbers = {"images": lab.part.size("test"), "open": opened, "nats": nats}
    return Section(numbers, claims, {"stability": stability_figure(records), "barrier": barrier_figure(bounds)})


def _half(spread: dict, of: str) -> float:
    values = spread[of]
    return 100 * values[len(values) // 2].item()


def text(evidence: Numbers) -> str:
    """The topic's section of the page, in Markdown."""
    numbers = evidence["stability"]
    rows = [_row(f"accuracy with half of the blocks open, {name}, %", scores, 1) for name, scores in numbers["open"].items()]
    rows += [_row(f"{name}, nats", scores, 3) for name, scores in numbers["nats"].items()]
    return f"""## 9. Dropped blocks

All masks over the blocks are scored on {numbers["images"]} test images (every {PART}th), for five seeds. Barriers are those of
ten pairs, each on a line of five points.

{table(["", *SWEPT, "CoTo - LoRA"], rows)}

{figure("stability", "test accuracy against the share of open blocks")}

Theorem 3.1 is Jensen's inequality and holds for any adapter, at every p. So the count above only checks the arithmetic, and
does not speak for CoTo. The bound on the barrier has constants that we do not have. So the figure only shows whether barriers
are below loss changes, and whether the two grow together.

{figure("barrier", "barrier of fusion against the loss change with half of the blocks dropped")}
"""


def _row(name: str, scores: Numbers, digits: int) -> list[str]:
    cells = [spread(scores[method], digits) for method in SWEPT]
    return [name, *cells, interval(scores["CoTo"]["difference"], digits)]
