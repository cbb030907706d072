"""A sweep of which a worker is killed, by processes, on Dask and on Ray: every run is there once, as without them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# The four groups, and once more that of the killed worker. joblib's processes all end with the one that is killed.
BEGUN = {"processes": (5, 6), "dask": (5,), "dask without a folder": (5,), "ray": (5,)}


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    """What came of the sweeps; whatever hangs is killed, and the tests fail."""
    out = tmp_path_factory.mktemp("sweeps")
    command = [sys.executable, Path(__file__).with_name("sweep.py"), out]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads((out / "facts.json").read_text())


@pytest.mark.parametrize("case", BEGUN)
def test_no_run_is_lost_and_no_finished_run_is_trained_again(facts: dict[str, dict[str, int]], case: str) -> None:
    found = facts[case]
    assert found["equal"] and found["killed"] and found["begun again"] == 0
    assert found["begun"] in BEGUN[case]
    assert found["kept"] == (0 if case == "dask without a folder" else 8)
