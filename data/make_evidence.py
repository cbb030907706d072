"""Measure the paper's claims on the gallery, and write EVIDENCE.md: ``python data/make_evidence.py``.

Writes ``data/evidence/evidence.json``, the figures beside it, and the page. ``--page`` writes the page alone, from the
numbers that are there, and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path

import plotly.graph_objects as go
import plotly.io
from _evidence import accuracy, geometry, gradients, merging, pruning, schedules, shapley, stability, sweep
from _evidence.lab import Lab
from _evidence.page import page
from _evidence.records import Claim, Numbers

from coto_lab._files import new_folder, write_file
from coto_lab.gallery import METHODS, SEEDS

ROOT = Path(__file__).parents[1]
PAGE, FOLDER = ROOT / "EVIDENCE.md", ROOT / "data" / "evidence"
NUMBERS = "evidence.json"
WIDTH = 900  # pixels
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

# In the order of measuring: a topic may use the numbers of those before it.
TOPICS = {
    "accuracy": accuracy,
    "merging": merging,
    "sweep": sweep,
    "pruning": pruning,
    "gradients": gradients,
    "shapley": shapley,
    "schedules": schedules,
    "stability": stability,
    "geometry": geometry,
}


def measure() -> tuple[Numbers, dict[str, go.Figure]]:
    """All numbers, and the figures by the name of their file."""
    lab = Lab()
    evidence: Numbers = {
        "about": {"seeds": len(SEEDS), "methods": len(METHODS), "lr": METHODS["CoTo"].lr, "test_images": len(lab.task.test)}
    }
    claims: list[Claim] = []
    figures: dict[str, go.Figure] = {}
    for name, topic in TOPICS.items():
        started = time.perf_counter()
        section = topic.measure(lab, evidence)
        evidence[name] = section.numbers
        claims += section.claims
        figures |= section.figures
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    evidence["claims"] = [claim.to_json() for claim in sorted(claims, key=lambda claim: claim.topic)]
    return evidence, figures


def find_browser() -> None:
    """Tell kaleido, which draws the PNGs, where Chromium is; the variable is that of the browser tests."""
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
    parser.add_argument("--page", action="store_true", help="write the page alone, from the numbers that are there")
    if not parser.parse_args().page:
        find_browser()
        evidence, figures = measure()
        with new_folder(FOLDER, overwrite=True) as folder:
            files = [folder / f"{name}.png" for name in figures]
            heights = [figure.layout.height for figure in figures.values()]
            plotly.io.write_images(list(figures.values()), files, width=WIDTH, height=heights)
            (folder / NUMBERS).write_text(json.dumps(evidence, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    evidence = json.loads((FOLDER / NUMBERS).read_text(encoding="utf-8"))
    write_file(PAGE, lambda path: path.write_text(page(evidence), encoding="utf-8"))


if __name__ == "__main__":
    main()
