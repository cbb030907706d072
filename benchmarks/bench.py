"""Speed of the lab, as ratios in one run: ``python benchmarks/bench.py [--steps N] [--json FILE]``.

Everything that is compared runs in turn, step by step, so that a noisy machine hits both sides alike; medians are shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from peft import get_peft_model

from coto_lab import Linear, Recipe, Training, load_task
from coto_lab._files import write_file
from coto_lab.coto import draw_mask
from coto_lab.randomness import batch_indices
from coto_lab.tasks import Task


def plain_peft(task: Task, recipe: Recipe) -> Iterator[float]:
    """Seconds per step of the loop that one would write by hand: PEFT and AdamW, without gates or records."""
    model = get_peft_model(task.load_base(), recipe.peft_config(task.target_modules)).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=recipe.lr, fused=True)
    data = task.train_batch
    for step in range(recipe.steps):
        started = time.perf_counter()
        indices = batch_indices(len(data["labels"]), recipe.batch_size, recipe.seed, step)
        task.loss(model, {name: column[indices] for name, column in data.items()}).backward()
        optimizer.step()
        optimizer.zero_grad()
        yield time.perf_counter() - started


def steps(steps: int) -> dict[str, float]:
    """Median milliseconds of a step, and ratios, of plain PEFT, the lab's LoRA and its CoTo, taking turns."""
    task = load_task("digits")
    loops: dict[str, Iterator[float]] = {
        "plain PEFT": plain_peft(task, Recipe(steps=steps)),
        "LoRA": (record.seconds for record in Training(task, Recipe(steps=steps))),
        "CoTo": (record.seconds for record in Training(task, Recipe(steps=steps, schedule=Linear()))),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    names = list(loops)
    for step in range(steps):
        for name in names[step % 3 :] + names[: step % 3]:  # who goes first rotates
            seconds[name].append(next(loops[name]))
    total = {name: sum(values[5:]) for name, values in seconds.items()}  # the first steps warm up
    pairs = list(zip(seconds["CoTo"], seconds["LoRA"], strict=True))
    quarter = [c / r for c, r in pairs[: steps // 4]]
    end = [c / r for c, r in pairs[steps * 3 // 4 :]]
    return {
        **{f"{name}, ms a step (median)": 1000 * statistics.median(values) for name, values in seconds.items()},
        "LoRA, 800 steps at that speed, s": 800 * statistics.median(seconds["LoRA"]),
        "LoRA / plain PEFT, whole run": total["LoRA"] / total["plain PEFT"],
        "CoTo / LoRA, whole run": total["CoTo"] / total["LoRA"],
        "CoTo / LoRA, first quarter (few blocks open)": statistics.median(quarter),
        "CoTo / LoRA, last quarter (all open)": statistics.median(end),
    }


def drawing() -> dict[str, float]:
    """Microseconds to draw the gates of 32 blocks, and to draw and set those of the digits task (8 blocks, 24 layers)."""
    coto = Training(load_task("digits"), Recipe(schedule=Linear())).coto
    return {
        "drawing the gates of 32 blocks, µs (median)": 1e6 * _median(lambda: draw_mask(32, 0.3, 0, 7), repeat=2000),
        "drawing and setting 8 gates, 24 layers, µs (median)": 1e6 * _median(lambda: coto.go_to(240), repeat=500),
    }


def importing(repeat: int = 7) -> dict[str, float]:
    """Seconds that importing coto_lab adds to importing torch, each time in a fresh process."""
    code = "import time, torch; t = time.perf_counter(); import coto_lab; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", code]
    added = [float(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(repeat)]
    return {"importing coto_lab after torch, s (median)": statistics.median(added)}


def _median(call: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    figures = {"threads": float(torch.get_num_threads()), **drawing(), **importing(), **steps(args.steps)}
    for name, value in figures.items():
        print(f"{name:52} {value:9.3f}")
    if args.json:
        write_file(args.json, lambda path: path.write_text(json.dumps(figures, indent=2) + "\n"))


if __name__ == "__main__":
    main()
