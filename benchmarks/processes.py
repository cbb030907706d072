"""Two processes that share each batch, beside one that has it alone: `fit` under ``accelerate launch``. Each has one thread."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median

from _setup import QUICK, Scale
from _timing import in_turns
from llama import TINY, Shape

# 17 million parameters. The adapters' gradients, which the processes send each other, are small beside the computation.
SHARED = Shape(width=384, intermediate=1024, layers=8, heads=6, kv_heads=6, vocabulary=4096, batch=8, tokens=64)

_WORKER = """
import json, sys
import torch
from llama import Shape, Tokens
from coto_lab import Linear, Recipe, Training

shape = Shape(**json.loads(sys.argv[1]))
recipe = Recipe(schedule=Linear(), steps=int(sys.argv[2]), batch_size=shape.batch)
training = Training(Tokens(shape, torch.float32), recipe)
training.step()
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        training.step()
    print("done", flush=True)
"""


class Group:
    """So many processes that train one adapter together. They wait until they are told to take steps."""

    def __init__(self, size: int, shape: Shape, steps: int):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        alike = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(Path(__file__).parent)}
        group = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-c", _WORKER, json.dumps(asdict(shape)), str(steps)],
                env={**os.environ, **alike, **(group | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if size > 1 else {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(size)
        ]
        self._wait()

    def take(self, steps: int) -> None:
        """The next ``steps``."""
        for process in self._processes:
            process.stdin.write(f"{steps}\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        self._wait()

    def end(self) -> None:
        for process in self._processes:
            process.communicate()

    def _wait(self) -> None:
        for process in self._processes:
            assert process.stdout.readline(), "a process has died"  # type: ignore[union-attr]


def processes(scale: Scale) -> dict[str, float]:
    """Milliseconds of a step; both are at the same steps of the same ramp, so they drop the same adapters in each turn."""
    shape, turns, steps = (TINY, 2, 1) if scale is QUICK else (SHARED, 16, 3)
    groups = {size: Group(size, shape, turns * steps + 1) for size in (1, 2)}
    taken = in_turns({str(size): partial(group.take, steps) for size, group in groups.items()}, turns)
    for group in groups.values():
        group.end()
    return {
        "processes.one_ms": 1e3 * median(taken["1"]) / steps,
        "processes.two_ms": 1e3 * median(taken["2"]) / steps,
        "processes.one_over_two": median(one / two for one, two in zip(taken["1"], taken["2"], strict=True)),
    }
