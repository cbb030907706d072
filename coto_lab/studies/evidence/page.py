"""The page EVIDENCE.md, made from the numbers in evidence.json alone."""

from __future__ import annotations

from coto_lab.studies.evidence import (
    accuracy,
    geometry,
    gradients,
    growth,
    merging,
    pruning,
    schedules,
    shapley,
    stability,
    sweep,
)
from coto_lab.studies.evidence.markdown import interval, table, wrapped
from coto_lab.studies.evidence.records import Numbers
from coto_lab.studies.statistics import FAILS, HOLDS, OPEN

TOPICS = (accuracy, sweep, growth, merging, pruning, gradients, shapley, schedules, stability, geometry)


def page(evidence: Numbers) -> str:
    """The text of EVIDENCE.md, from the content of evidence.json."""
    about, claims = evidence["about"], evidence["claims"]
    rows = [[str(c["topic"]), c["text"], c["paper"], here(c), c["grid"], f"**{c['verdict']}**"] for c in claims]
    sections = "\n\n".join(topic.text(evidence).strip() for topic in TOPICS)
    return wrapped(f"""# Evidence

This page compares, claim by claim, what the paper on CoTo ([arXiv:2506.05713](https://arxiv.org/abs/2506.05713)) reports with
what this lab measures. `make evidence` reads the gallery of finished runs, and writes this page, its figures and
[data/evidence/evidence.json](data/evidence/evidence.json), which contains every number. No result or verdict on this page is
typed by hand, except the paper's. `make gallery` trains the runs.

The lab's runs use handwritten digits, a vision transformer of 0.4 million parameters, r = 4, 800 steps at learning rate
{about["lr"]:g}, {about["seeds"]} seeds of each of {about["methods"]} methods, and {about["test_images"]} test images. The paper
uses CLIP ViT-B/16, and DeBERTa-v3 and LLaMA on language. So a verdict says what holds *here*. Numbers of the paper that we know
only from another source are marked "second hand".

## Claim by claim

Differences are means over seeds, in percentage points of test accuracy unless another unit is named, with a 95% interval in
brackets. The column "judged at" names the settings. If it names one learning rate, the seeds are 0 to 4, and nothing is known
about other rates; only section 2 has several rates.

{table(["", "claim", "paper", "here", "judged at", "verdict"], rows, texts=6)}

**How a verdict is made.** It *holds* if the interval excludes 0 on the claimed side, *does not hold* if it excludes 0 on
the other side, and is *inconclusive* otherwise. "As accurate, or better" holds if the whole interval is above
-{accuracy.MARGIN:g} point; "the same" if it is between -{accuracy.MARGIN:g} and {accuracy.MARGIN:g}. A claim with several parts
holds if all parts hold, and does not hold if one part does not hold. A count holds if all of its cases are as claimed, and does
not hold otherwise.

**How an interval is made.** Differences are paired by seed, and the interval is Student's t with {about["seeds"] - 1} degrees
of freedom. Pairs and triples of seeds share runs, so the ten pairs are not ten observations. Their standard error comes from
the jackknife, which leaves out one seed at a time, with all pairs of this seed (`coto_lab.studies.statistics`). This error
tends to be too large and not too small.

**What the intervals do not cover.** All seeds share one choice of 160 training images and the test images. There are
{len(claims)} claims, and the intervals are not corrected for this number: at 95%, about one interval in twenty misses.

## What does not hold, and what is inconclusive

{_doubtful(claims)}

The learning rate and the length of the runs were chosen in earlier trials, so that CoTo has time to learn; section 2 has the
whole range of rates. Progressive dropout, which the paper has too, can be trained (`Recipe(dropout_decay="linear")`), but it is
not in the gallery.

{sections}

## 11. Cost

The paper reports up to 24% less training time. `make bench` measures time: it trains both methods in turns on your machine. The
gallery contains no usable times, because its runs were trained together.
""")


def here(claim: Numbers) -> str:
    """The numbers that decide about a claim: each part's difference and interval, or the counts."""
    cells = []
    unit = f" {claim['unit']}" if claim["unit"] not in ("", "points") else ""
    for name, part in claim["parts"].items():
        cells.append((f"{name}: " if name else "") + interval(part, claim["digits"]) + unit)
    cells += [f"{name}: {fitting} of {total}" for name, (fitting, total) in claim["counts"].items()]
    return "<br>".join(cells)


def _doubtful(claims: list[Numbers]) -> str:
    lines = []
    for verdict in (FAILS, OPEN):
        found = [f"- {claim['text']}: {here(claim).replace('<br>', '; ')}." for claim in claims if claim["verdict"] == verdict]
        if found:
            lines.append(f"{verdict[0].upper()}{verdict[1:]}:\n\n" + "\n".join(found))
    held = sum(claim["verdict"] == HOLDS for claim in claims)
    return "\n\n".join([*lines, f"The other {held} of {len(claims)} claims hold."])
