"""A sweep by joblib's processes, of which one is killed: every run is there once, as without them.

``python tests/clusters/sweep.py dask FOLDER`` (or ``ray``) does the same on a local cluster.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SWEEP = Path(__file__).with_name("sweep.py")


def facts_of(backend: str, out: Path) -> dict:
    """What the sweep says; one that hangs is killed, and the test fails."""
    command = [sys.executable, SWEEP, backend, out]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads((out / "facts.json").read_text())


def test_no_run_is_lost_and_no_finished_run_is_trained_again(tmp_path: Path) -> None:
    (found,) = facts_of("processes", tmp_path).values()
    assert found["equal"] and found["killed"] and found["begun again"] == 0
    # joblib's processes all end with the one that is killed, so up to two of the four groups are begun twice.
    assert found["begun"] in (5, 6) and found["kept"] == 8
