"""Measure the paper's claims on the gallery, and write EVIDENCE.md: ``python data/make_evidence.py``.

The script writes ``data/evidence/evidence.json``, the figures in the same folder, and the page. With ``--page`` it measures
nothing and writes only the page, from the existing numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import plotly.graph_objects as go
import plotly.io
from joblib import Parallel, delayed

from coto_lab import load_task
from coto_lab.figures.theme import on_white
from coto_lab.ground.files import new_folder, write_file
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
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.page import page
from coto_lab.studies.evidence.records import Numbers, Section
from coto_lab.studies.gallery import METHODS, SEEDS

ROOT = Path(__file__).parents[1]
PAGE, FOLDER = ROOT / "EVIDENCE.md", ROOT / "data" / "evidence"
NUMBERS = "evidence.json"
WIDTH = 900  # pixels
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

# Two halves for two processes, which take about the same time; then the topics that use the numbers of both halves. A topic may
# use the numbers of earlier topics of its half.
HALVES = (
    {"accuracy": accuracy, "merging": merging, "sweep": sweep, "growth": growth},
    {"pruning": pruning, "gradients": gradients, "shapley": shapley, "stability": stability, "geometry": geometry},
)
LAST = {"schedules": schedules}


def measure() -> tuple[Numbers, dict[str, go.Figure]]:
    """All numbers, and the figures by the names of their files."""
    sections: dict[str, Section] = {}
    # On the small base model, two processes with one thread each (joblib sets that) are faster than one with two threads.
    for half in Parallel(n_jobs=len(HALVES), return_as="generator")(delayed(_sections)(topics, {}) for topics in HALVES):
        sections |= half
    sections |= _sections(LAST, {name: section.numbers for name, section in sections.items()})
    evidence: Numbers = {
        "about": {
            "seeds": len(SEEDS),
            "methods": len(METHODS),
            "lr": METHODS["CoTo"].lr,
            "test_images": len(load_task("digits").test),
        },
        **{name: section.numbers for name, section in sections.items()},
    }
    claims = [claim for section in sections.values() for claim in section.claims]
    evidence["claims"] = [claim.to_json() for claim in sorted(claims, key=lambda claim: claim.topic)]
    return evidence, {name: figure for section in sections.values() for name, figure in section.figures.items()}


def _sections(topics: Mapping[str, ModuleType], done: Numbers) -> dict[str, Section]:
    """Measure some topics, one after the other."""
    lab = Lab()
    sections = {}
    for name, topic in topics.items():
        started = time.perf_counter()
        sections[name] = topic.measure(lab, done | {other: section.numbers for other, section in sections.items()})
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    return sections


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
    parser.add_argument("--page", action="store_true", help="write only the page, from the existing numbers")
    if not parser.parse_args().page:
        find_browser()
        evidence, figures = measure()
        with new_folder(FOLDER, overwrite=True) as folder:
            files = [folder / f"{name}.png" for name in figures]
            heights = [figure.layout.height for figure in figures.values()]
            plotly.io.write_images([on_white(figure) for figure in figures.values()], files, width=WIDTH, height=heights)
            (folder / NUMBERS).write_text(json.dumps(evidence, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    evidence = json.loads((FOLDER / NUMBERS).read_text(encoding="utf-8"))
    write_file(PAGE, lambda path: path.write_text(page(evidence), encoding="utf-8"))


if __name__ == "__main__":
    main()
