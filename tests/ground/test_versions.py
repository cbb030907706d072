"""Versions, also where the package is used from a checkout that nobody has installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from coto_lab import Run
from coto_lab.ground.versions import version_of

ROOT = Path(__file__).parents[2]

_FROM_A_CHECKOUT = """
import sys
from coto_lab import Run
from coto_lab.notebook.diagnosis import unmet_requirements
Run.load(sys.argv[1]).save(sys.argv[2])
print(unmet_requirements("lab"))
"""


def test_versions_are_those_of_the_installed_packages() -> None:
    assert version_of("torch") == version("torch") == torch.__version__
    assert version_of("no-such-package") == "unknown"


def test_a_run_is_saved_from_a_checkout_that_is_not_installed(runs: tuple[Run, Run], tmp_path: Path) -> None:
    packages = tmp_path / "packages"  # all that are installed here, but for this one
    packages.mkdir()
    for folder in {Path(path) for path in sys.path if Path(path).name in ("site-packages", "dist-packages")}:
        for item in folder.iterdir():
            if not item.name.startswith(("coto_lab", "_coto_lab")) and not (packages / item.name).exists():
                (packages / item.name).symlink_to(item)
    saved = runs[0].save(tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-S", "-c", _FROM_A_CHECKOUT, str(saved), str(tmp_path / "again")],  # -S: no site-packages
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["{}"], "nobody knows what a package requires that is not installed"
    about = json.loads((tmp_path / "again" / "run.json").read_text(encoding="utf-8"))
    assert about["versions"]["coto_lab"] == "unknown" and about["versions"]["torch"] == version("torch")
    assert Run.load(tmp_path / "again").recipe == runs[0].recipe
