"""Two processes that share each batch, beside one that has it alone: `fit` under ``accelerate launch``. Each has one thread."""

from __future__ import annotations

import os
import socket
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from statistics import median

import torch
from _forks import forks
from _setup import QUICK, Scale
from _timing import in_turns
from llama import TINY, Shape, Tokens

from coto_lab import Linear, Recipe, Training

# 17 million parameters. The adapters' gradients, which the processes send each other, are small beside the computation.
SHARED = Shape(width=384, intermediate=1024, layers=8, heads=6, kv_heads=6, vocabulary=4096, batch=8, tokens=64)


def _train(orders: Connection, shape: Shape, steps: int, environment: dict[str, str]) -> None:
    """Take as many steps as each order says, until one says none."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    recipe = Recipe(schedule=Linear(), steps=steps, batch_size=shape.batch)
    training = Training(Tokens(shape, torch.float32), recipe)
    training.step()
    orders.send("ready")
    while order := orders.recv():
        for _ in range(order):
            training.step()
        orders.send("done")


class Group:
    """So many processes that train one adapter together. They wait until they are told to take steps."""

    def __init__(self, size: int, shape: Shape, steps: int):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        alike = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        group = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        self._orders: list[Connection] = []
        self._processes: list[BaseProcess] = []
        context = forks()
        for rank in range(size):
            environment = alike | (group | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if size > 1 else {})
            ours, theirs = context.Pipe()
            process = context.Process(target=_train, args=(theirs, shape, steps, environment), daemon=True)
            process.start()
            theirs.close()  # else a process that has died would be waited for without end
            self._orders.append(ours)
            self._processes.append(process)
        self._wait()

    def take(self, steps: int) -> None:
        """The next ``steps``."""
        for orders in self._orders:
            orders.send(steps)
        self._wait()

    def end(self) -> None:
        for orders in self._orders:
            orders.send(0)
        for process in self._processes:
            process.join()

    def _wait(self) -> None:
        for orders in self._orders:
            orders.recv()


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
