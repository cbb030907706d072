"""What a check is, and how it says that something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

Check = Callable[[], dict[str, float]]


class Wrong(AssertionError):
    """A check that did not hold."""


def require(holds: bool, what: str) -> None:
    """Raise `Wrong` unless it holds."""
    if not holds:
        raise Wrong(what)


def falls(losses: Tensor) -> dict[str, float]:
    """The means of the first and of the last five losses of a training; raise `Wrong` unless these are a tenth lower."""
    figures = {"first": losses[:5].mean().item(), "last": losses[-5:].mean().item()}
    require(figures["last"] < 0.9 * figures["first"], f"the loss does not fall: {figures}")
    return figures


def python(*arguments: str, **environment: str) -> str:
    """What another Python process prints, started in this folder."""
    command = [sys.executable, *arguments]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parent)
    if done.returncode:
        raise Wrong((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return done.stdout
