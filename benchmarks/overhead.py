"""Small things: drawing gates, setting them, importing the package."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from statistics import median

import torch
from _setup import Scale
from _timing import medians

from coto_lab import CoTo, Linear, Recipe, Training
from coto_lab.gating.coto import draw_mask

PROBABILITIES = (0.1, 0.5, 0.9)
_BLOCKS = 32


def drawing(scale: Scale) -> dict[str, float]:
    """Microseconds to draw the gates of 32 blocks, here and by redrawing; and to draw and set those of a model."""
    figures: dict[str, float] = {}
    for p in PROBABILITIES:
        steps = count()
        calls = {"ours": lambda p=p, steps=steps: draw_mask(_BLOCKS, p, 0, next(steps)), "redrawn": lambda p=p: redrawn(p)}
        taken = medians(calls, scale.draws)
        figures |= {f"gates.{name}.p{p}_us": 1e6 * value for name, value in taken.items()}
    coto: CoTo = Training(scale.task(), Recipe(schedule=Linear())).coto
    steps = count()
    figures["gates.set_us"] = 1e6 * medians({"set": lambda: coto.go_to(next(steps) % 600)}, scale.draws // 4)["set"]
    return figures


def redrawn(p: float) -> torch.Tensor:
    """As the authors' README describes it: a uniform number per block, compared with p, until at least one opens."""
    while True:
        mask = torch.rand(_BLOCKS) < p
        if mask.any():
            return mask


def importing(scale: Scale) -> dict[str, float]:
    """Seconds that importing coto_lab adds to importing torch, each time in a fresh process."""
    code = "import time, torch; t = time.perf_counter(); import coto_lab; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", code]
    added = [float(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(scale.imports)]
    return {"import_s": median(added)}
