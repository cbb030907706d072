"""Sweeps by two workers, one of which is killed: ``python sweep.py FOLDER`` writes what came of them.

All are done by one process, and all but Ray's workers are forks of one that has imported what they need: an import takes far
longer than these trainings.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1]))

import dask.config
import joblib
import torch
from joblib.externals.loky.backend.context import set_start_method
from tiny_tasks import language_task
from torch import nn

from coto_lab import Linear, Recipe, Run, Task, fit_many

RECIPES = [Recipe(r=2, steps=6, batch_size=8, seed=seed, schedule=Linear()) for seed in range(8)]
ROWS = 2  # so there are four groups
NEEDED = ["coto_lab", "peft", "transformers.models.llama.modeling_llama", "datasets", "distributed.nanny"]


def load_and_count(load: Callable[[], nn.Module], marks: Path, sender: int) -> nn.Module:
    """The base model. Each group loads it once where it is trained, and leaves a file; the second one kills its worker.

    The first group waits for that, so that the other worker is at work then. It goes on without it after a while, since Ray may
    give both groups to one worker.
    """
    if os.getpid() != sender:
        (marks / f"training-{uuid4()}").touch()
        if len(list(marks.glob("training-*"))) >= 2:
            with suppress(FileExistsError):
                (marks / "killed").touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        limit = time.monotonic() + 10
        while not (marks / "killed").exists() and time.monotonic() < limit:
            time.sleep(0.01)
    return load()


@contextmanager
def on_dask() -> Iterator[None]:
    """With both workers there: with one, joblib does the jobs in this process."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
    ):
        client.wait_for_workers(2, timeout=200)
        yield


@contextmanager
def on_ray() -> Iterator[None]:
    import ray
    from ray.util.joblib import register_ray

    for attempt in range(3):  # Ray gives its own processes 30 s to start, which a busy machine may exceed
        with suppress(Exception) if attempt < 2 else nullcontext():
            ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80_000_000)
            break
        ray.shutdown()
    try:
        register_ray()
        with joblib.parallel_config(backend="ray"):
            yield
    finally:
        ray.shutdown()


@contextmanager
def by_processes() -> Iterator[None]:
    with joblib.parallel_config(n_jobs=2):
        yield


def equal(found: list[Run], expected: list[Run]) -> bool:
    """The same runs in the same order, bit for bit."""
    return [run.recipe for run in found] == [run.recipe for run in expected] and all(
        torch.equal(tensor, b.adapter.tensors[name]) and torch.equal(a.history.loss, b.history.loss)
        for a, b in zip(found, expected, strict=True)
        for name, tensor in a.adapter.tensors.items()
    )


def sweep(task: Task, expected: list[Run], out: Path, folder: Path | None) -> dict[str, object]:
    """Whether the runs are those without a cluster, and how many groups were begun."""
    out.mkdir()
    counted = replace(task, load_base=partial(load_and_count, task.load_base, out, os.getpid()))
    runs = fit_many(counted, RECIPES, max_rows=ROWS, folder=folder, progress=False)
    begun = len(list(out.glob("training-*")))
    again = fit_many(counted, RECIPES, max_rows=ROWS, folder=folder, progress=False) if folder else runs
    return {
        "equal": equal(runs, expected) and equal(again, expected),
        "killed": (out / "killed").exists(),
        "begun": begun,
        "begun again": len(list(out.glob("training-*"))) - begun,
        "kept": len(list(folder.iterdir())) if folder else 0,
    }


def main(out: Path) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    multiprocessing.set_forkserver_preload(NEEDED)
    set_start_method("forkserver")  # of joblib's processes
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    multiprocessing.forkserver.ensure_running()  # before Dask has it import other modules instead
    task = language_task()
    expected = fit_many(task, RECIPES, max_rows=ROWS, progress=False)
    # A lost worker of joblib's processes ends a sweep without a folder; on Ray it takes long, and is as on Dask.
    cases: dict[str, tuple[Callable[[], AbstractContextManager[None]], Path | None]] = {
        "processes": (by_processes, out / "runs of processes"),
        "dask": (on_dask, out / "runs on dask"),
        "dask without a folder": (on_dask, None),  # on a cluster of its own, since the other one has lost a worker
        "ray": (on_ray, out / "runs on ray"),
    }
    facts = {}
    for case, (backend, folder) in cases.items():
        with backend():
            facts[case] = sweep(task, expected, out / case, folder)
    (out / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
