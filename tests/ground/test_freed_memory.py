"""With `keep`, a process that was told to return memory at once keeps it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

# 24 MB are asked for and freed. What matters in a training, page faults, also depends on the size of the system's pages.
_RETURNED = """
import os, sys
from pathlib import Path
import torch
from coto_lab.ground.freed_memory import keep
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
if sys.argv[1] == "keep":
    keep()
blocks = [torch.ones(2_000_000) for _ in range(3)]
before = resident()
del blocks
print(before - resident())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("how", "returned"), [("keep", False), ("as it is", True)])
def test_freed_memory_is_kept(how: str, returned: bool) -> None:
    assert platform.libc_ver()[0] == "glibc"
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}  # as Dask starts its workers
    environment.pop("MALLOC_MMAP_THRESHOLD_", None)  # the Makefile sets it
    done = subprocess.run([sys.executable, "-c", _RETURNED, how], env=environment, capture_output=True, text=True, check=True)
    assert (int(done.stdout) > 12_000_000) == returned
