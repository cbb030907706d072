"""Clusters that cannot do the work are refused with a reason, and nothing hangs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from coto_lab.ground.versions import version_of


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What was said; whatever hangs is killed, and the tests fail."""
    out = tmp_path_factory.mktemp("refusals")
    package, about = out / "packages" / "coto_lab", out / "packages" / "coto_lab-0.0.1.dist-info"
    package.mkdir(parents=True), about.mkdir()
    (package / "__init__.py").touch()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: coto_lab\nVersion: 0.0.1\n")
    command = [sys.executable, Path(__file__).with_name("refusals.py"), out]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return json.loads((out / "facts.json").read_text())


def test_a_worker_with_another_version(facts: dict[str, str]) -> None:
    said = facts["another version"]
    assert said.startswith("RuntimeError: the worker on '")
    assert f"has coto_lab 0.0.1, and this process has coto_lab {version_of('coto_lab')}." in said


def test_a_cluster_without_workers(facts: dict[str, str]) -> None:
    assert facts["no worker"].startswith("TimeoutError: DaskDistributedBackend has no worker after 1 seconds")


def test_a_worker_with_two_threads(facts: dict[str, str]) -> None:
    assert facts["two threads"].startswith("RuntimeError: this worker was given two trainings at once")
