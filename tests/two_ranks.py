"""Two processes of a gloo group on the CPU, for tests of what each of them does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

# No test waits long for a process that never comes: every collective has a time limit.
_LIMITED = """
import datetime, torch
torch.distributed.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
"""


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def start_two(worker: str, *arguments: str | Path) -> list[subprocess.Popen[str]]:
    """The code ``worker`` as rank 0 and as rank 1, without a launcher; the helpers of the tests can be imported there."""
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "ACCELERATE_USE_CPU": "true"}
    group |= {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    return [
        subprocess.Popen(
            [sys.executable, "-c", worker, *map(str, arguments)],
            env={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def run_two(worker: str, out: Path) -> None:
    """Run the code ``worker`` as rank 0 and as rank 1, with ``out`` as its argument; the test fails when one of them does."""
    for process in start_two(_LIMITED + worker, out):
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
