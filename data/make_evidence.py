"""Measure the paper's claims on the gallery, and write EVIDENCE.md: ``python data/make_evidence.py``.

The script writes ``data/evidence/evidence.json``, the figures in the same folder, and the page. With ``--variants`` it measures
only section 14, the variants of LoRA, and with ``--merged`` only sections 15 and 16, merged adapters; all else is taken from
the existing file. With ``--page`` it measures nothing and writes only the page, from the existing numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import plotly.graph_objects as go
import plotly.io
from joblib import Parallel, delayed

from coto_lab.figures.theme import on_white
from coto_lab.ground.files import new_folder, write_file
from coto_lab.studies import glyph_diffusion, task_merging
from coto_lab.studies.evidence import (
    accuracy,
    content_style,
    fusion,
    geometry,
    gradients,
    growth,
    merged,
    merging,
    pruning,
    schedules,
    shapley,
    stability,
    sweep,
    variants,
)
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import figure_name
from coto_lab.studies.evidence.page import of_legs, page, short
from coto_lab.studies.evidence.records import Numbers, Section
from coto_lab.studies.evidence.rows import claim_rows
from coto_lab.studies.evidence.values import Values, averaged
from coto_lab.studies.gallery import SEEDS
from coto_lab.studies.legs import DIGITS, LEGS, Leg
from coto_lab.studies.variants import table
from coto_lab.tasks import load_task

ROOT = Path(__file__).parents[1]
PAGE, FOLDER = ROOT / "EVIDENCE.md", ROOT / "data" / "evidence"
NUMBERS = "evidence.json"
WIDTH = 900  # pixels
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PROCESSES = 2

# The order is that of evidence.json. The topics of a half of a task are measured in one process: Shapley values and stability
# need the same scores.
TOPICS = {
    "accuracy": accuracy,
    "merging": merging,
    "sweep": sweep,
    "growth": growth,
    "pruning": pruning,
    "gradients": gradients,
    "shapley": shapley,
    "stability": stability,
    "geometry": geometry,
    "schedules": schedules,
}
HALVES = (
    ("shapley", "stability", "gradients", "geometry", "schedules"),
    ("accuracy", "merging", "sweep", "growth", "pruning"),
)
DIGITS_ONLY = ("growth",)


def topics(leg: Leg) -> list[str]:
    """The topics that are measured on a leg."""
    return [name for name in TOPICS if leg == DIGITS or name not in DIGITS_ONLY]


def measured(leg: Leg, task: str, half: tuple[str, ...]) -> Values:
    """The values of some topics on one task."""
    lab, found = Lab(leg, task), {}
    for name in topics(leg):
        if name in half:
            started = time.perf_counter()
            found[name] = TOPICS[name].values(lab)
            print(f"{task}, {name}: {time.perf_counter() - started:.0f} s", flush=True)
    return found


def measure() -> tuple[Numbers, dict[str, go.Figure]]:
    """All numbers, and the figures by the names of their files."""
    jobs = [(leg, task, half) for half in HALVES for leg in LEGS.values() for task in leg.tasks]
    # On small base models, two processes with one thread each (joblib sets that) are faster than one with two threads.
    found: dict[str, Values] = {}
    for (_, task, _), values in zip(jobs, Parallel(n_jobs=PROCESSES)(delayed(measured)(*job) for job in jobs), strict=True):
        found.setdefault(task, {}).update(values)
    sections, of_tasks = {}, {}
    for leg in LEGS.values():
        own = {task: found[task] for task in leg.tasks}
        sections[leg.name] = judged(averaged(list(own.values())), leg)
        sections[leg.name]["fusion"] = fusion.judge({short(task): values for task, values in own.items()})
        if len(leg.tasks) > 1:
            of_tasks |= {task: judged(values, leg) for task, values in own.items()}
    numbers = {leg: {name: section.numbers for name, section in own.items()} for leg, own in sections.items()}
    evidence: Numbers = {
        "about": about(),
        **numbers.pop(DIGITS.name),
        **numbers,
        "claims": claim_rows(
            {leg: [claim for section in own.values() for claim in section.claims] for leg, own in sections.items()},
            {task: [claim for section in own.values() for claim in section.claims] for task, own in of_tasks.items()},
        ),
    }
    figures = {
        figure_name(leg, name): figure
        for leg, own in sections.items()
        for section in own.values()
        for name, figure in section.figures.items()
    }
    return evidence, figures


def judged(values: Values, leg: Leg) -> dict[str, Section]:
    """Numbers, claims and figures of a leg's topics, from the values of a leg or of one task."""
    return {name: TOPICS[name].judge(values, leg) for name in topics(leg)}


def add(evidence: Numbers, topic: str, own: Mapping[str, Callable[[], Section]]) -> dict[str, go.Figure]:
    """Add a topic to the numbers of its legs; return its figures by the names of their files.

    Args:
        evidence: all numbers.
        topic: what they are called there.
        own: name of a leg -> measures the topic on it.
    """
    figures = {}
    for leg, measured_on_leg in own.items():
        started = time.perf_counter()
        section = measured_on_leg()
        of_legs(evidence)[leg][topic] = section.numbers
        figures |= {figure_name(leg, name): figure for name, figure in section.figures.items()}
        print(f"{leg}, {topic}: {time.perf_counter() - started:.0f} s", flush=True)
    return figures


def of_variants(own: Numbers) -> Section:
    return variants.judge(variants.values(own), own)


def of_merged(name: str, own: Numbers) -> Section:
    return merged.judge(merged.values(name), own)


def about() -> Numbers:
    """The settings of the runs."""
    recipes = {leg.name: leg.methods["CoTo"] for leg in LEGS.values()}
    firsts = {leg.name: load_task(leg.tasks[0]) for leg in LEGS.values()}
    return {
        "seeds": len(SEEDS),
        "methods": len(DIGITS.methods),
        "lr": recipes[DIGITS.name].lr,
        "test_images": firsts[DIGITS.name].size("test"),
        "legs": {
            leg.name: {
                "tasks": list(leg.tasks),
                "r": recipes[leg.name].r,
                "steps": recipes[leg.name].steps,
                "lr": recipes[leg.name].lr,
                "parameters": firsts[leg.name].load_base().num_parameters(),
                "train": firsts[leg.name].size("train"),
                "test": firsts[leg.name].size("test"),
            }
            for leg in LEGS.values()
        },
    }


def find_browser() -> None:
    """Tell kaleido, which draws the PNGs, where Chromium is; the browser tests use the same environment variable."""
    chosen = os.environ.get("COTO_LAB_CHROMIUM")
    found = shutil.which(chosen) if chosen else next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        raise SystemExit(
            "the figures need Chromium, and there is none. On Debian: apt-get update && apt-get install -y chromium. "
            "Elsewhere set COTO_LAB_CHROMIUM to the program of a Chromium or Chrome."
        )
    os.environ["BROWSER_PATH"] = found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--page", action="store_true", help="write only the page, from the existing numbers")
    only.add_argument("--variants", action="store_true", help="measure only the variants, and keep all other numbers")
    only.add_argument("--merged", action="store_true", help="measure only merged adapters, and keep all other numbers")
    arguments = parser.parse_args()
    if not arguments.page:
        find_browser()
        evidence, figures = (saved(), {}) if arguments.variants or arguments.merged else measure()
        if not arguments.merged:
            figures |= add(evidence, "variants", {leg: partial(of_variants, own) for leg, own in table()["legs"].items()})
        if not arguments.variants:
            sets = task_merging.table()["sets"]
            figures |= add(evidence, "merged", {leg: partial(of_merged, leg, own) for leg, own in sets.items()})
            evidence["content_style"] = content_style.judge(glyph_diffusion.table())
        with new_folder(FOLDER, overwrite=True) as folder:
            files = [folder / f"{name}.png" for name in figures]
            heights = [figure.layout.height for figure in figures.values()]
            plotly.io.write_images([on_white(figure) for figure in figures.values()], files, width=WIDTH, height=heights)
            (folder / NUMBERS).write_text(json.dumps(evidence, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    evidence = saved()
    write_file(PAGE, lambda path: path.write_text(page(evidence), encoding="utf-8"))


def saved() -> Numbers:
    """The numbers as they were written last."""
    content: Numbers = json.loads((FOLDER / NUMBERS).read_text(encoding="utf-8"))
    return content


if __name__ == "__main__":
    main()
