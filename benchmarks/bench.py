"""Speed and memory of the lab: ``python benchmarks/bench.py [--quick] [--json [FILE]]``.

How to read it. Every figure is a ratio, or stands beside what it is to be compared with; both sides are measured in the
same run and take turns, step by step or pass by pass, so that a noisy machine hits them alike. Times are medians. An
indented line belongs to the one above it. "aim" is what the project set itself, or what the paper reports; nothing fails
when it is missed. ``--json`` writes ``bench.json`` (or FILE): one flat object of numbers under the keys of `catalogue`, and
``"machine"``: threads, versions, CPU count, device. Absolute times hold for that machine alone.

Threads: PyTorch's own choice, or ``OMP_NUM_THREADS=1 make bench``. ``--quick`` runs everything on a tiny model, in
seconds: its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import gpu
import memory
import overhead
import scoring
import torch
import training
import widgets
from _setup import FULL, QUICK, Scale
from catalogue import FIGURES, GPU_FIGURES

from coto_lab.ground.device import default_device
from coto_lab.ground.files import write_file

# Memory first, while this process has not computed anything.
SECTIONS: list[Callable[[Scale], dict[str, float]]] = [
    memory.peaks,
    overhead.importing,
    overhead.drawing,
    training.saving,
    training.together,
    scoring.interpolation,
    scoring.shapley,
    widgets.views,
]


def measure(scale: Scale) -> dict[str, float]:
    """All figures, in the catalogue's order."""
    found: dict[str, float] = {}
    sections = SECTIONS
    if default_device().type == "cpu":
        print("no GPU here: the figures of a language model's shape, and of 16 rows at once, are left out", flush=True)
    else:
        shape = gpu.TINY if scale is QUICK else gpu.Shape()
        sections = [*SECTIONS, lambda _: gpu.llama(default_device(), shape), gpu.many_rows]
    for section in sections:
        started = time.perf_counter()
        figures = section(scale)
        print(f"{next(iter(figures)).split('.')[0]}: {time.perf_counter() - started:.0f} s", flush=True)
        found |= figures
    return {key: found[key] for key in FIGURES | GPU_FIGURES if key in FIGURES or key in found}


def machine() -> dict[str, str | int]:
    """What the numbers were measured on."""
    device = default_device()
    return {
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count() or 1,
        "processor": platform.machine(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "peft")},
    }


def table(figures: dict[str, float]) -> str:
    """The figures as text: figure, value, aim, note."""
    lines = [f"{'figure':54} {'value':>9}  {'aim':14} note"]
    for key, value in figures.items():
        figure = (FIGURES | GPU_FIGURES)[key]
        lines.append(f"{figure.label:54} {value:9.4g}  {figure.aim:14} {figure.note}".rstrip())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny model: shows that everything runs, measures nothing")
    parser.add_argument("--json", type=Path, nargs="?", const=Path("bench.json"), help="also write the figures to this file")
    args = parser.parse_args()
    about = machine()
    figures = measure(QUICK if args.quick else FULL)
    print("\n" + ", ".join(f"{name} {value}" for name, value in about.items()) + "\n")
    print(table(figures))
    if args.json:
        write_file(args.json, lambda path: path.write_text(json.dumps({"machine": about, **figures}, indent=2) + "\n"))


if __name__ == "__main__":
    main()
