"""Views, in a real kernel: what a redraw costs is for a good part what is sent to the browser."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from statistics import median
from unittest.mock import patch

import psutil
import torch
from _setup import FULL, QUICK, Scale
from _timing import medians
from jupyter_client.manager import start_new_kernel

from coto_lab import Linear, Recipe
from coto_lab.widgets import LiveTraining, ScheduleExplorer, Switchboard
from coto_lab.widgets._race import Race

_MIB = 2**20


def views(scale: Scale) -> dict[str, float]:
    """What `measure` finds in a kernel that has a client, but no browser."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(Path(__file__).parent))
    said: list[str] = []
    code = f"import json, widgets; print(json.dumps(await widgets.measure({scale is QUICK}, {torch.get_num_threads()})))"
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
        **await drawing(live, scale.live_turns),
        **await growth(live, scale.updates),
        "views.schedule_ms": 1000 * redraw(ScheduleExplorer(), scale.clicks),
        "views.switchboard_ms": 1000 * click(Switchboard(task, live.runs), scale.clicks),
    }


async def drawing(live: LiveTraining, turns: int) -> dict[str, float]:
    """The same training with and without what is drawn, and without scores on the way; median seconds, in turns."""
    taken: dict[str, list[float]] = {"whole": [], "undrawn": [], "bare": []}
    left_out = {"whole": (), "undrawn": ((live, "_draw"),), "bare": ((live, "_draw"), (Race, "score"))}
    for _ in range(turns):
        for name, methods in left_out.items():
            with ExitStack() as stack:
                for thing, method in methods:
                    stack.enter_context(patch.object(thing, method, lambda *_, **__: None))
                started = time.perf_counter()
                await live.train()
                taken[name].append(time.perf_counter() - started)
    whole, undrawn, bare = (median(seconds) for seconds in taken.values())
    return {
        "views.live_s": whole,
        "views.drawing_share": 100 * (whole - undrawn) / whole,
        "views.scoring_share": 100 * (undrawn - bare) / whole,
    }


async def growth(live: LiveTraining, updates: int) -> dict[str, float]:
    """By how many MiB the kernel grows in so many redraws of the live view, after as many as a tenth of them."""
    process = psutil.Process()
    await live.train()
    for update in range(updates + updates // 10):
        if update == updates // 10:
            before = process.memory_info().rss
        live._draw(live._race)
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
