"""A gloo group of two processes on the CPU, for tests of what each of them does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


def run_two(worker: str, out: Path) -> None:
    """Run the code ``worker`` as rank 0 and as rank 1, with ``out`` as its argument; the test fails when one of them does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", worker, str(out)],
            env={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in workers:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
