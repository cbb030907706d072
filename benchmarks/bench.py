"""Speed and memory of the lab: ``python benchmarks/bench.py [--quick] [--json [FILE]]``.

How to read it. Every figure is a ratio, or stands beside what it is to be compared with; both sides are measured in the
same run and take turns, step by step or pass by pass, so that a noisy machine hits them alike. Times are medians. An
indented line belongs to the one above it. "aim" is what the project set itself, or what the paper reports; nothing fails
when it is missed. ``--json`` writes ``bench.json`` (or FILE): one flat object of numbers under the keys of `catalogue`, and
``"machine"``: threads, versions, CPU count, device. It is written anew after each section, so an interrupted run leaves what
it has. Absolute times hold for that machine alone.

Threads: PyTorch's own choice, or ``OMP_NUM_THREADS=1 make bench``. ``--quick`` runs everything on a tiny model, in
seconds: its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _setup import Scale

# Memory first, while this process has not computed anything. Modules are imported when it is their turn, since the processes
# that some sections start import this file.
SECTIONS = [
    "memory.peaks",
    "overhead.importing",
    "overhead.drawing",
    "overhead.callback",
    "overhead.stopping",
    "steps.saving",
    "steps.together",
    "scores.interpolation",
    "scores.shapley",
    "strings.strings",
    "merging.merging",
    "views.views",
    "page.page",
    "estimate.estimates",
    "compiling.compiling",
    "growth.growth",
    "sweeps.sweeps",
    "processes.processes",
]


def measure(scale: Scale, keep: Callable[[dict[str, float]], None]) -> dict[str, float]:
    """All figures, in the catalogue's order. After each section ``keep`` is given those so far."""
    from catalogue import FIGURES

    found: dict[str, float] = {}
    for section in SECTIONS:
        module, name = section.split(".")
        call: Callable[[Scale], dict[str, float]] = getattr(import_module(module), name)
        started = time.perf_counter()
        figures = call(scale)
        print(f"{next(iter(figures)).split('.')[0]}: {time.perf_counter() - started:.0f} s", flush=True)
        found |= figures
        keep({key: found[key] for key in FIGURES if key in found})
    return {key: found[key] for key in FIGURES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny model: shows that everything runs, measures nothing")
    parser.add_argument("--json", type=Path, nargs="?", const=Path("bench.json"), help="also write the figures to this file")
    args = parser.parse_args()
    from _report import machine, table
    from _setup import FULL, QUICK
    from catalogue import FIGURES

    from coto_lab.ground.files import write_file

    about = machine()

    def keep(figures: dict[str, float]) -> None:
        if args.json:
            write_file(args.json, lambda path: path.write_text(json.dumps({"machine": about, **figures}, indent=2) + "\n"))

    figures = measure(QUICK if args.quick else FULL, keep)
    print("\n" + ", ".join(f"{name} {value}" for name, value in about.items()) + "\n")
    print(table(figures, FIGURES))


if __name__ == "__main__":
    main()
