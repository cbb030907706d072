"""Views, in a real kernel: what a redraw costs is for a good part what is sent to the browser."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import cycle
from pathlib import Path
from unittest.mock import patch

import psutil
import torch
from _setup import FULL, QUICK, Scale
from _timing import Call, medians, seconds
from jupyter_client.manager import start_new_kernel

from coto_lab import Linear, Recipe
from coto_lab.widgets import LiveTraining, ScheduleExplorer, Switchboard
from coto_lab.widgets.side_by_side import SideBySide

_MIB = 2**20


def views(scale: Scale) -> dict[str, float]:
    """What `measure` finds in a kernel that has a client, but no browser."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(Path(__file__).parent))
    said: list[str] = []
    code = f"import json, views; print(json.dumps(await views.measure({scale is QUICK}, {torch.get_num_threads()})))"
    try:
        reply = client.execute_interactive(code, output_hook=lambda message: said.append(message["content"].get("text", "")))
        if reply["content"]["status"] != "ok":
            raise SystemExit("\n".join(reply["content"]["traceback"]))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return json.loads("".join(said).splitlines()[-1])


async def measure(quick: bool, threads: int) -> dict[str, float]:
    """All figures of this file; to be called in a kernel."""
    torch.set_num_threads(threads)
    scale = QUICK if quick else FULL
    task = scale.task()
    recipes = {"LoRA": Recipe(steps=scale.live_steps), "CoTo": Recipe(steps=scale.live_steps, schedule=Linear())}
    live = LiveTraining(task, recipes)
    return {
        **await parts(live),
        **await growth(live, scale.updates),
        "views.schedule_ms": 1000 * redraw(ScheduleExplorer(), scale.clicks),
        "views.switchboard_ms": 1000 * click(Switchboard(task, live.runs), scale.clicks),
    }


async def parts(live: LiveTraining) -> dict[str, float]:
    """A watched training, and what part of it is not training. Both are clocked within it, so that noise hits them alike."""
    spent = {"drawing": 0.0, "scoring": 0.0}

    def clocked(name: str, method: Call) -> Call:
        def call(*args: object, **options: object) -> None:
            spent[name] += seconds(lambda: method(*args, **options))

        return call

    drawing, scoring = clocked("drawing", live._draw), clocked("scoring", SideBySide.score)
    with patch.object(live, "_draw", drawing), patch.object(SideBySide, "score", scoring):
        started = time.perf_counter()
        await live.train()
        whole = time.perf_counter() - started
    return {"views.live_s": whole} | {f"views.{name}_share": 100 * value / whole for name, value in spent.items()}


async def growth(live: LiveTraining, updates: int) -> dict[str, float]:
    """By how many MiB the kernel grows in so many redraws of the live view, after as many as a tenth of them.

    Drawn are the first steps of a training, one more each time, and from the first again: what is as before is not sent.
    """
    process = psutil.Process()
    trainings = live._side_by_side.trainings.values()
    records = [list(training.records) for training in trainings]
    for update in range(updates + updates // 10):
        if update == updates // 10:
            before = process.memory_info().rss
        for training, steps in zip(trainings, records, strict=True):
            training.records = steps[: 1 + update % len(steps)]
        live._draw(live._side_by_side)
        await asyncio.sleep(0)
    return {"views.growth_mib": (process.memory_info().rss - before) / _MIB}


def redraw(explorer: ScheduleExplorer, clicks: int) -> float:
    """Median seconds of a redraw of the schedule explorer."""
    presets = cycle(explorer.presets.values())
    return medians({"click": lambda: next(presets).click()}, clicks)["click"]


def click(board: Switchboard, clicks: int) -> float:
    """Median seconds of a click on the switchboard; the lowest block comes first, which leaves nothing to reuse."""
    blocks = cycle(board.blocks)

    def toggle() -> None:
        block = next(blocks)
        block.value = not block.value

    return medians({"click": toggle}, clicks)["click"]
