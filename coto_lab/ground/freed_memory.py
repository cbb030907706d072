"""What glibc does with memory that was freed: with `keep`, the process keeps it for the next step of a training."""

from __future__ import annotations

import ctypes
import platform

# The names and numbers of ``mallopt`` in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST, _GIBIBYTE = 2**31 - 1, 2**30


def keep() -> None:
    """Have this process keep freed memory, up to blocks of 1 GiB; where the C library is not glibc, do nothing.

    A training frees its activations at every step. Dask starts its workers with ``MALLOC_TRIM_THRESHOLD_=65536``, so that they
    return memory to the system at once, and then each step asks for it again, page by page: a step of ten rows on the digits
    took twice the processor time.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _GIBIBYTE)
        libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST)
