"""How a training step grows with the model's blocks, the batch, the width and the rows that share a base.

Time is that of the processor, of all threads together: other programs on the machine hardly change it. A slope is that of the
line through the logarithms of sizes and times: 1 means twice the time for twice the size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import linear_regression

import torch
from _setup import Scale
from _timing import Call
from steps import repeated, stacked_step

from coto_lab import Linear, Recipe, Training

SIZES = {
    "blocks": (2, 4, 8, 16, 32, 64),
    "batch": (8, 16, 32, 64, 128, 256),
    "width": (16, 32, 64, 128, 256, 512),
    "rows": (1, 2, 4, 8, 16, 32),
}


def growth(scale: Scale) -> dict[str, float]:
    """Seconds of a step of LoRA and of CoTo, at the smallest and the largest size, and how fast they grow between."""
    figures: dict[str, float] = {}
    for axis, sizes in SIZES.items():
        taken: dict[str, list[float]] = {"lora": [], "coto": []}
        for size in sizes[: scale.sizes]:
            for method, seconds in _per_step(axis, size, scale):
                taken[method].append(seconds)
        for method, seconds in taken.items():
            logs = [math.log(size) for size in sizes[: scale.sizes]], [math.log(value) for value in seconds]
            figures |= {
                f"growth.{axis}.{method}.first_ms": 1000 * seconds[0],
                f"growth.{axis}.{method}.last_ms": 1000 * seconds[-1],
                f"growth.{axis}.{method}.slope": linear_regression(*logs).slope,
                f"growth.{axis}.{method}.last_slope": math.log2(seconds[-1] / seconds[-2]),
            }
    return figures


def _per_step(axis: str, size: int, scale: Scale) -> Iterator[tuple[str, float]]:
    """LoRA and CoTo take turns, each from the beginning; the first steps are not counted."""
    steps, turns = scale.growth
    ramps: dict[str, Callable[[], Call]] = {
        "lora": lambda: _ramp(axis, size, scale, Recipe(steps=steps)),
        "coto": lambda: _ramp(axis, size, scale, Recipe(steps=steps, schedule=Linear())),
    }
    ramps["lora"]()()
    taken = {name: [_processor_seconds(ramp()) for _ in range(turns)] for name, ramp in ramps.items()}
    yield from ((name, min(seconds) / steps) for name, seconds in taken.items())


def _ramp(axis: str, size: int, scale: Scale, recipe: Recipe) -> Call:
    if axis == "rows":
        return repeated(stacked_step(scale.task(), recipe, size), recipe.steps)
    if axis == "blocks":
        return repeated(Training(scale.task(blocks=size), recipe).step, recipe.steps)
    if axis == "width":
        return repeated(Training(replace(scale, width=size).task(), recipe).step, recipe.steps)
    return repeated(Training(scale.task(), replace(recipe, batch_size=size)).step, recipe.steps)


def _processor_seconds(call: Call) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


if __name__ == "__main__":
    from _setup import FULL

    torch.set_num_threads(1)
    for key, value in growth(FULL).items():
        print(f"{key} {value:.4g}", flush=True)
