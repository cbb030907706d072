"""What a check is, and how it says that something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Check = Callable[[], dict[str, float]]


class Wrong(AssertionError):
    """A check that did not hold."""


def require(holds: bool, what: str) -> None:
    """Raise `Wrong` unless it holds."""
    if not holds:
        raise Wrong(what)


def python(*arguments: str, **environment: str) -> str:
    """What another Python process prints, started in this folder."""
    command = [sys.executable, *arguments]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parent)
    if done.returncode:
        raise Wrong((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return done.stdout
