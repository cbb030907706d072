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

# The ranks are forks of one process, since the imports take most of the time of most tests.
_FORKS = """
import multiprocessing, os, sys
import accelerate, coto_lab, datasets, peft
from transformers import LlamaConfig, LlamaForCausalLM, Trainer

def work(rank):
    os.environ["RANK"] = os.environ["LOCAL_RANK"] = str(rank)
    exec(sys.argv.pop(1), {"__name__": "__main__"})

ranks = [multiprocessing.get_context("fork").Process(target=work, args=(rank,)) for rank in range(2)]
for rank in ranks:
    rank.start()
for rank in ranks:
    rank.join()
sys.exit(any(rank.exitcode for rank in ranks))
"""


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def _group() -> dict[str, str]:
    """The variables of a group of two, but for the rank; the helpers of the tests can be imported there."""
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "ACCELERATE_USE_CPU": "true"}
    folders = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, **group, "PYTHONPATH": folders}


def start_two(worker: str, *arguments: str | Path) -> list[subprocess.Popen[str]]:
    """The code ``worker`` as rank 0 and as rank 1, without a launcher, in two processes that have nothing in common."""
    group = _group()
    return [
        subprocess.Popen(
            [sys.executable, "-c", worker, *map(str, arguments)],
            env={**group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def run_two_apart(worker: str, out: Path) -> None:
    """Run the code ``worker`` as rank 0 and as rank 1, with ``out`` as its argument; the test fails when one of them does.

    They have nothing in common, also not how sets of strings are ordered, where objects lie, and the state of NumPy.
    """
    for process in start_two(_LIMITED + worker, out):
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors


def run_two(worker: str, out: Path, start_group: bool = True) -> None:
    """The same in forks of one process, which takes less time, for what is not about whether ranks agree.

    With ``start_group=False``, the code itself has to start the process group.
    """
    command = [sys.executable, "-c", _FORKS, _LIMITED + worker if start_group else worker, str(out)]
    done = subprocess.run(command, env=_group(), stderr=subprocess.PIPE, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
