"""Peak memory, each measured in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import scores
import steps
import torch
from _forks import forks
from _setup import QUICK, Scale

from coto_lab.ground.device import default_device
from coto_lab.scoring.tree import _AUTOMATIC, _ON_ACCELERATOR

WORKLOADS = {**steps.WORKLOADS, **scores.WORKLOADS}
_MIB = 2**20
_IMAGES = 8  # at most of the 12-block game: its peak depends on the evaluator's bound, and all of them take many minutes


def peaks(scale: Scale) -> dict[str, float]:
    """MiB that each workload takes at its peak, above what its process held before.

    Resident memory on a CPU, without what malloc keeps in reserve; what PyTorch allocated on CUDA. The evaluator's bound is
    about activations; the loss and the correctness of every example, which it returns, come on top.
    """
    scale = replace(scale, images=(*scale.images[:2], min(_IMAGES, scale.images[2])))
    with ProcessPoolExecutor(1, mp_context=forks(), max_tasks_per_child=1) as pool:
        taken = {name: pool.submit(_peak, name, scale).result() for name in WORKLOADS}
    figures = {f"memory.{name}_mib": n_bytes / _MIB for name, n_bytes in taken.items()}
    figures["memory.bound_mib"] = _AUTOMATIC.get(default_device().type, _ON_ACCELERATOR) / _MIB
    variants = {"interpolation": len(scores.ALPHAS), "shapley8": 2 ** scale.blocks[0], "shapley12": 2 ** scale.blocks[1]}
    for (name, n_variants), n_images in zip(variants.items(), scale.images, strict=True):
        results = 2 * 8 * n_variants * n_images / _MIB  # two measures in double precision
        figures[f"memory.{name}.results_mib"] = results
        used = (figures[f"memory.{name}.together_mib"] - results) / figures["memory.bound_mib"]
        figures[f"memory.{name}.of_bound"] = 100 * used
    return figures


def _peak(name: str, scale: Scale) -> float:
    _give_back_at_once()
    WORKLOADS[name](QUICK)()  # brings what is loaded once: kernels, their scratch space, lazy imports
    call = WORKLOADS[name](scale)
    before = _high_water(reset=True)
    call()
    return _high_water() - before


def _give_back_at_once() -> None:
    """Have glibc's malloc return what is freed; else what it keeps in reserve counts, twice the tensors and more."""
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mmap_threshold, n_bytes = -3, 2**16
        mallopt(mmap_threshold, n_bytes)


def _high_water(reset: bool = False) -> float:
    """The most bytes that this process held so far, or since the last reset; right after one, what it holds."""
    if default_device().type == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.max_memory_allocated())
    if reset:
        gc.collect()
        with suppress(OSError):  # Linux; elsewhere the mark stays where loading left it, and hides as much of the peak
            Path("/proc/self/clear_refs").write_text("5")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
