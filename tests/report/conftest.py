"""Reports on short runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from coto_lab import Run, Task
from coto_lab.report import Report, report


@pytest.fixture(scope="session")
def pruned_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report") / "pruned"


@pytest.fixture(scope="session")
def one(tiny_task: Task, runs: tuple[Run, Run], pruned_folder: Path) -> Report:
    """Of one run, with a pruned adapter."""
    return report(runs[0], tiny_task, keep=0.5, save=pruned_folder, minutes=None, progress=False)


@pytest.fixture(scope="session")
def two(tiny_task: Task, runs: tuple[Run, Run]) -> Report:
    """Of two adapters; the first has its run's history."""
    return report({"first": runs[0], "second": runs[1].adapter}, tiny_task, minutes=None, progress=False)
