"""The page EVIDENCE.md, made from the numbers in evidence.json alone."""

from __future__ import annotations

from coto_lab.studies.evidence import (
    accuracy,
    content_style,
    fusion,
    geometry,
    gradients,
    growth,
    merged_text,
    merging,
    pruning,
    schedules,
    shapley,
    stability,
    sweep,
    variants_text,
)
from coto_lab.studies.evidence.markdown import table, wrapped
from coto_lab.studies.evidence.records import Numbers
from coto_lab.studies.evidence.rows import cell, counted, disagreements
from coto_lab.studies.legs import DIGITS, DOCSTRINGS, LEGS, STRINGS
from coto_lab.studies.statistics import HOLDS

TOPICS = (accuracy, sweep, growth, merging, pruning, gradients, shapley, schedules, stability, geometry, fusion)


def of_legs(evidence: Numbers) -> dict[str, Numbers]:
    """The topics of each leg. Those of the digits are at the top of evidence.json, those of the others one level below."""
    found = {DIGITS.name: evidence} | {leg: evidence[leg] for leg in LEGS if leg in evidence}
    return {leg: found[leg] for leg in LEGS if leg in found}


def page(evidence: Numbers) -> str:
    """The text of EVIDENCE.md, from the content of evidence.json."""
    about, claims, legs = evidence["about"], evidence["claims"], of_legs(evidence)
    rows = [
        [str(row["topic"]), row["text"], row["paper"], *(cell(row, row["legs"].get(leg)) for leg in legs)] for row in claims
    ]
    sections = "\n\n".join(topic.text(legs).strip() for topic in TOPICS)
    counts = "; ".join(f"on the {leg}, {counted(claims, leg)}" for leg in legs)
    return wrapped(f"""# Evidence

This page compares, claim by claim, what the paper on CoTo ([arXiv:2506.05713](https://arxiv.org/abs/2506.05713)) reports with
what this lab measures. A few claims are our own; they are marked "not reported". `make evidence` reads the gallery of finished
runs, and writes this page, its figures and [data/evidence/evidence.json](data/evidence/evidence.json), which contains every
number. No result or verdict on this page is typed by hand, except the paper's. `make gallery` trains the runs.

Every claim stands on three legs, with {about["seeds"]} seeds of each method. The *digits* are images for a vision transformer
that was trained for this lab: {_settings(about, DIGITS.name)}. The *strings* are tasks for a language model that was also
trained for this lab, and an answer counts if it is right to the last character (exact match):
{_settings(about, STRINGS.name)}. The
*docstrings* are English texts for MiniLM, a pre-trained encoder of other people, which has to tell the library that a docstring
is from: {_settings(about, DOCSTRINGS.name)}. There are {about["methods"]} methods; on the docstrings, whose runs are the most
expensive, {len(DOCSTRINGS.methods)}. The paper uses CLIP ViT-B/16, and DeBERTa-v3 and
LLaMA on language. So a verdict says what holds *here*. Numbers of the paper that we know only from another source are marked
"second hand".

In short: {counts}. These claims are about LoRA. Section 14 has its variants and section
15 the merging of tasks, with verdicts of their own, and section 16 a diffusion model.

## Claim by claim

Differences are means over seeds, with a 95% interval in brackets. They are in percentage points of test accuracy (on the
strings: of exact match), or of the share that the claim names, unless another unit is given. On the strings, a seed's value is
the mean over the {len(about["legs"][STRINGS.name]["tasks"])} tasks; section 13 has the tasks one by one. Where no settings are
named in parentheses, the runs are those of the gallery, at one learning rate and with seeds 0 to 4, and nothing is known about
other rates; only sections 2 and 14 have several rates.
A dash means that the claim was not measured on this leg: the safeguards of topic
2 were tried on the digits alone, Owen's formula needs the loss of every step, which the gallery has for the digits alone, the
ramps of topic 7 were not trained on the docstrings, and theorem 3.1 is about class logits, which the strings do not have.

{table(["", "claim", "paper", *legs], rows, texts=3 + len(legs))}

**How a verdict is made.** It *holds* if the interval excludes 0 on the claimed side, *does not hold* if it excludes 0 on
the other side, and is *inconclusive* otherwise. "As accurate, or better" holds if the whole interval is above
-{accuracy.MARGIN:g} point; "the same" if it is between -{accuracy.MARGIN:g} and {accuracy.MARGIN:g}. A claim with several parts
holds if all parts hold, and does not hold if one part does not hold. A count holds if all of its cases are as claimed, and does
not hold otherwise; on the strings, a case counts if it is as claimed on every task.

**How an interval is made.** Differences are paired by seed, and the interval is Student's t with {about["seeds"] - 1} degrees
of freedom. Pairs and triples of seeds share runs, so the ten pairs are not ten observations. Their standard error comes from
the jackknife, which leaves out one seed at a time, with all pairs of this seed (`coto_lab.studies.statistics`). This error
tends to be too large and not too small.

**What the intervals do not cover.** All seeds share one choice of training examples and of test examples, and the tasks on
strings are few, and share one base model. There are {len(claims)} claims, most of them on all legs, and the intervals are not
corrected for this number: at 95%, about one interval in twenty misses. On two of the three tasks on strings most single runs
score above 98%, so differences between single runs come mostly from the third. An interval of width 0 means that all seeds
scored the same, not that the difference is known exactly. Where a seed has its best score at several rates, one of them is
taken.

## Where the verdicts of the legs differ

{_disagreements(claims)}

On the digits the learning rate and the length of the runs were chosen in earlier trials, so that CoTo has time to learn. On the
strings a sweep decided, with other seeds and on the same test examples: the longest of three lengths, and a rate half a
doubling below the one that is best for both methods, because runs collapse half a doubling above that one. The sweep on the
strings was trained on a GPU, the gallery on a CPU. On the docstrings a sweep decided, too, with other seeds and on the same
test examples, at one length that was fixed before: the rate with the highest mean over both methods. Section 2 has the whole
range of rates. Progressive dropout, which the paper has too, can be trained (`Recipe(dropout_decay="linear")`), but it is not
in the gallery.

## What holds on no leg

{_nowhere(claims)}

{sections}

## 12. Cost

The paper reports up to 24% less training time. `make bench` measures time: it trains both methods in turns on your machine. The
gallery contains no usable times, because its runs were trained together. Section 14 has times of the variants of LoRA.

## 13. The strings, task by task

In the other sections, the tasks on strings are averaged. This table has every claim that was judged on them for each task
alone, with the same seeds and settings. Rates that were chosen by the scores, such as the best one, are each task's own.

{_tasks(claims, about["legs"][STRINGS.name]["tasks"])}

{variants_text.text(legs).strip()}

{merged_text.text(legs).strip()}

{content_style.text(evidence["content_style"]).strip()}
""")


def _settings(about: Numbers, leg: str) -> str:
    own = about["legs"][leg]
    tasks = ", ".join(short(name) for name in own["tasks"])
    which = "" if own["tasks"] == [leg] else f"the tasks are {tasks}; "
    each = "" if len(own["tasks"]) == 1 else " of each task"
    examples = f"{own['train']} training and {own['test']} test examples{each}"
    size = f"{own['parameters'] / 1e6:.1f} million parameters"
    return f"{size}; {which}r = {own['r']}, {own['steps']} steps at learning rate {own['lr']:g}, {examples}"


def short(task: str) -> str:
    """The name of a task inside its leg."""
    return task.removeprefix(f"{STRINGS.name}/")


def _disagreements(claims: list[Numbers]) -> str:
    opposite, unsure = disagreements(claims)
    parts = []
    for words, sentences in (
        ("These claims hold on one leg and do not hold on another:", opposite),
        ("These claims are inconclusive on some legs and not on others:", unsure),
    ):
        if sentences:
            parts.append(words + "\n\n" + "\n".join(f"- {sentence}" for sentence in sentences))
    if not opposite:
        parts.insert(0, "There is no claim that holds on one leg and does not hold on another.")
    return "\n\n".join(parts)


def _nowhere(claims: list[Numbers]) -> str:
    lines = [
        f"- {row['text']}: " + "; ".join(f"{leg}: {found['verdict']}" for leg, found in row["legs"].items()) + "."
        for row in claims
        if all(found["verdict"] != HOLDS for found in row["legs"].values())
    ]
    return "\n".join(lines) if lines else "Every claim holds on at least one leg."


def _tasks(claims: list[Numbers], tasks: list[str]) -> str:
    rows = [
        [str(row["topic"]), row["text"], *(cell(row, row["tasks"][task] | {"grid": ""}) for task in tasks)]
        for row in claims
        if row["tasks"]
    ]
    return table(["", "claim", *map(short, tasks)], rows, texts=2 + len(tasks))
