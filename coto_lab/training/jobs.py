"""Trainings as jobs for joblib's backends: processes of this machine, or the workers of a Dask or Ray cluster."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import torch

from coto_lab.ground import freed_memory
from coto_lab.ground.versions import version_of

Group = TypeVar("Group")
Result = TypeVar("Result")

PACKAGES = ("coto_lab", "torch", "transformers", "peft")
_RAISED = "This was raised on "
_training = Lock()


class LostWorker(RuntimeError):
    """A backend of joblib broke off because a worker ended, or because it lost all of them."""


def workers(n_jobs: int | None) -> int | None:
    """How many jobs run at once on joblib's active backend: ``n_jobs``, or what it is set to; None: nobody asked for jobs.

    A cluster has as many as it has workers now; joblib does the jobs in this process where that is one. Threads are no workers,
    since trainings in one process would share torch's random numbers; joblib has them inside the jobs of somebody else's
    ``Parallel``.

    Raises:
        TimeoutError: a Dask cluster has no worker.
    """
    from joblib.parallel import get_active_backend

    backend, configured = get_active_backend()
    if in_threads():
        return None
    here = "Loky" in type(backend).__name__  # what joblib takes where no backend is chosen
    n_jobs = n_jobs or configured or (1 if here else -1)
    if here and n_jobs == 1:
        return None
    return max(1, backend.effective_n_jobs(n_jobs))


def in_threads() -> bool:
    """Whether joblib's active backend has threads of this process, as within a job of ``Parallel``, or this thread alone."""
    from joblib.parallel import get_active_backend

    return getattr(get_active_backend()[0], "supports_sharedmem", False)


def done_by_workers(work: Callable[[Group], Result], groups: Sequence[Group], n_workers: int) -> Iterator[tuple[int, Result]]:
    """Have the workers of joblib's active backend do ``work(group)`` for each group; its place and result, as they come.

    Each worker does one job at a time, with one thread. It first compares its packages with those here, so that nothing is
    trained by another version. An exception of ``work`` comes back as it is, with a note that names the worker.

    Raises:
        RuntimeError: a worker lacks a package or a module, or has another version of it, or was given two jobs at once.
        LostWorker: a worker ended, and the backend did not give its job to another.
        Exception: what ``work`` raises.

    Source: joblib's ``Parallel``.
    """
    from joblib import Parallel, delayed
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend()
    options: dict[str, Any] = {"return_as": "generator_unordered" if backend.supports_return_generator else "list"}
    if type(backend).__name__ == "RayBackend":  # by default, its first lost worker ends all; Dask tries a job as often
        options["ray_remote_args"] = {"max_restarts": -1, "max_task_retries": 3, **(backend.ray_remote_args or {})}
    job, versions = _job(), {name: version_of(name) for name in PACKAGES}
    # As bytes, a job is opened when the versions are known to be the same. Also, joblib's Dask backend would put any other
    # large argument on one of the workers, and all jobs would be lost with that worker.
    _packed(work)  # if it cannot be sent, that is no fault of the backend
    jobs = (delayed(job)(place, _packed(partial(one_at_a_time, work, group)), versions) for place, group in enumerate(groups))
    try:
        yield from Parallel(n_jobs=n_workers, batch_size=1, **options)(jobs)
    except Exception as error:
        if any(note.startswith(_RAISED) for note in getattr(error, "__notes__", ())):
            raise
        raise LostWorker(f"joblib's backend {type(backend).__name__} ended with {type(error).__name__}: {error}") from error


def _packed(work: Callable[..., object]) -> bytes:
    from joblib import wrap_non_picklable_objects

    return pickle.dumps(wrap_non_picklable_objects(work))


def one_at_a_time(work: Callable[[Group], Result], group: Group) -> Result:
    """``work(group)`` with one thread; RuntimeError while this process is at another."""
    if not _training.acquire(blocking=False):
        raise RuntimeError(
            "this worker was given two trainings at once, and they would share torch's random numbers. Start workers with one "
            "thread each: dask worker ADDRESS --nworkers 4 --nthreads 1, or LocalCluster(n_workers=4, threads_per_worker=1)."
        )
    threads = torch.get_num_threads()
    freed_memory.keep()
    try:
        torch.set_num_threads(1)
        return work(group)
    finally:
        torch.set_num_threads(threads)
        _training.release()


def _job() -> Callable[[int, bytes, dict[str, str]], tuple[int, Any]]:
    """What is sent. A function inside a function is sent as code, so a worker can run it that lacks this package."""

    def job(place: int, content: bytes, versions: dict[str, str]) -> tuple[int, Any]:
        import os
        import pickle
        import platform
        from importlib import metadata

        worker = f"the worker on {platform.node()!r} (process {os.getpid()})"
        found = {}
        for name in versions:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = "unknown"  # as `version_of` has it
        # torch 2.13.0+cpu here and 2.13.0+cu128 there are one version.
        differ = [name for name in versions if found[name].split("+")[0] != versions[name].split("+")[0]]
        try:
            if differ:
                there = ", ".join(f"{name} {found[name]}" for name in differ)
                here = ", ".join(f"{name} {versions[name]}" for name in differ)
                raise RuntimeError(
                    f"{worker} has {there}, and this process has {here}. Install the same versions everywhere, since runs of "
                    "different versions differ; 'unknown' is a package that is not installed."
                )
            try:
                work = pickle.loads(content)
            except (ImportError, AttributeError) as error:
                raise RuntimeError(
                    f"{worker} cannot read its job: {error}. Install the same packages there as here, and have it find the "
                    "modules in which your task and your methods are defined (PYTHONPATH)."
                ) from error
            return place, work()
        except Exception as error:
            error.add_note(f"{_RAISED}{worker}.")
            raise

    return job
