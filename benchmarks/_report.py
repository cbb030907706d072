"""What the benchmarks say at their end: the machine, and a table of figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version

import torch
from catalogue import Figure

from coto_lab.ground.device import default_device


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


def table(figures: Mapping[str, float], catalogue: Mapping[str, Figure]) -> str:
    """The figures as text: figure, value, aim, note."""
    lines = [f"{'figure':58} {'value':>9}  {'aim':14} note"]
    for key, value in figures.items():
        figure = catalogue[key]
        lines.append(f"{figure.label:58} {value:9.4g}  {figure.aim:14} {figure.note}".rstrip())
    return "\n".join(lines)
