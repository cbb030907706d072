"""A sweep of which a worker is killed, by processes, on Dask and on Ray: every run is there once, as without them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = Path(__file__).with_name("sweep.py")
# The four groups, and once more that of the killed worker. joblib's processes all end with the one that is killed.
BEGUN = {"processes": (5, 6), "dask": (5,), "ray": (5,)}


@pytest.mark.parametrize("backend", BEGUN)
def test_no_run_is_lost_and_no_finished_run_is_trained_again(backend: str, tmp_path: Path) -> None:
    command = [sys.executable, SWEEP, backend, tmp_path]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert set(facts) == {"with folder"} | ({"without folder"} if backend == "dask" else set())
    for found in facts.values():
        assert found["equal"] and found["killed"] and found["begun again"] == 0
        assert found["begun"] in BEGUN[backend]
    assert facts["with folder"]["kept"] == 8
