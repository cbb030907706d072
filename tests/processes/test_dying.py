"""A process that dies takes the others down with an error, with a launcher and without; nobody waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from two_ranks import free_port, start_two

_WORKER = """
import os, pathlib, sys, time
from coto_lab import Recipe, fit, load_task
out, ends = pathlib.Path(sys.argv[1]), {"killed": lambda: os._exit(7), "raises": lambda: 1 / 0}[sys.argv[2]]

def on_step(record):
    if record.step == 2 and os.environ["RANK"] == "1":
        (out / "died").write_text(str(time.time()))
        ends()

fit(load_task("digits"), Recipe(steps=100_000, batch_size=8), on_step=on_step, progress=False)
"""
SECONDS = 120  # far below the ten minutes after which `fit` gives up a process that is silent


def test_without_a_launcher_the_other_process_ends_with_an_error(tmp_path: Path) -> None:
    survivor, dead = start_two(_WORKER, tmp_path, "killed")
    dead.communicate(timeout=600)
    try:
        _, errors = survivor.communicate(timeout=SECONDS)
    finally:
        survivor.kill()
    assert dead.returncode == 7 and survivor.returncode == 1
    assert "Check the logs of the remote worker" in errors  # the end of what gloo says when a connection breaks


def test_accelerate_launch_ends_with_the_error_of_the_process_that_failed(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(_WORKER)
    # --cpu would start one process; with this variable, the launcher for several GPUs starts them on the CPU.
    command = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", free_port()]
    launched = subprocess.run(
        [sys.executable, *command, str(script), str(tmp_path), "raises"],
        env={**os.environ, "ACCELERATE_USE_CPU": "true"}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert launched.returncode != 0 and "ZeroDivisionError" in launched.stderr
    assert time.time() - float((tmp_path / "died").read_text()) < SECONDS
