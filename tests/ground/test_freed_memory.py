"""With `keep`, a process that was told to return memory at once keeps it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

# Four times 24 MB are asked for and freed: about 6,000 pages of 4 kB each time that they come anew from the system.
_FAULTS = """
import resource, sys
import torch
from coto_lab.ground.freed_memory import keep
if sys.argv[1] == "keep":
    keep()
def use():
    return [torch.ones(2_000_000) for _ in range(3)]
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("how", "many"), [("keep", False), ("as it is", True)])
def test_freed_memory_is_kept(how: str, many: bool) -> None:
    assert platform.libc_ver()[0] == "glibc"
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}  # as Dask starts its workers
    done = subprocess.run([sys.executable, "-c", _FAULTS, how], env=environment, capture_output=True, text=True, check=True)
    assert (int(done.stdout) > 12_000) == many
