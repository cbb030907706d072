"""The page, from the numbers alone."""

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
    """EVIDENCE.md, from the content of evidence.json."""
    about, claims = evidence["about"], evidence["claims"]
    rows = [[str(c["topic"]), c["text"], c["paper"], here(c), c["grid"], f"**{c['verdict']}**"] for c in claims]
    sections = "\n\n".join(topic.text(evidence).strip() for topic in TOPICS)
    return wrapped(f"""# Evidence

What the paper on CoTo ([arXiv:2506.05713](https://arxiv.org/abs/2506.05713)) reports, beside what this lab measures, claim
by claim. `make evidence` reads the gallery of finished runs, and writes this page, its figures and
[data/evidence/evidence.json](data/evidence/evidence.json), which holds every number; no result or verdict here is typed by
hand, but for the paper's. `make gallery` trains the runs.

Here: handwritten digits, a vision transformer of 0.4 million parameters, r = 4, 800 steps at learning rate {about["lr"]:g},
{about["seeds"]} seeds of each of {about["methods"]} methods, {about["test_images"]} test images. There: CLIP ViT-B/16 and
DeBERTa-v3, LLaMA on language. So a verdict says what holds *here*. Numbers of the paper that came to us second hand are
marked so.

## Claim by claim

Differences are means over seeds, in percentage points of test accuracy unless another unit is named, with a 95% interval in
brackets. "Judged at" says at which settings; where it names one learning rate, the seeds are 0 to 4, and nothing is known of
other rates: only section 2 has them.

{table(["", "claim", "paper", "here", "judged at", "verdict"], rows, texts=6)}

**How a verdict is made.** It *holds* if the interval excludes 0 on the claimed side, *does not hold* if it excludes 0 on
the other side, and is *inconclusive* otherwise. "As accurate, or better" holds if the whole interval is above
-{accuracy.MARGIN:g} point; "the same" if it is between -{accuracy.MARGIN:g} and {accuracy.MARGIN:g}. A claim of several
parts needs all of them, and does not hold if one does not; so does a count.

**How an interval is made.** Differences are paired by seed: Student's t, {about["seeds"] - 1} degrees of freedom. Pairs and
triples of seeds share runs, so the ten pairs are not ten observations: their standard error is the jackknife's that leaves
out one seed at a time, with all pairs it is in (`coto_lab.studies.statistics`). It is rather too large than too small.

**What the intervals do not cover.** All seeds share one choice of 160 training images and the test images. There are
{len(claims)} claims and no correction for their number: at 95%, about one interval in twenty misses.

## What does not hold, and what is inconclusive

{_doubtful(claims)}

What was tried before: learning rate and length of the runs were chosen in earlier trials as ones that give CoTo time to
learn; section 2 has the whole range of rates. Progressive dropout, which the paper has too, can be trained
(`Recipe(dropout_decay="linear")`) and is not in the gallery.

{sections}

## 11. Cost

The paper reports up to 24% less training time. Time is a matter of `make bench`, which trains both in turns on your
machine; the gallery cannot tell, as its runs were trained together.
""")


def here(claim: Numbers) -> str:
    """What decides about a claim: each part's difference and interval, or the counts."""
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
