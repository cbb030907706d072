"""A sweep on a local Dask cluster: two workers beside one, each with one thread."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from statistics import median

from _setup import Scale
from _timing import Call, in_turns
from joblib import parallel_config

from coto_lab import Linear, Recipe, Task, fit_many

# As pages/sweeps.md advises. By default, a worker looks at itself a hundred times a second, and its training has to wait.
QUIET = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "1s"}


def sweeps(scale: Scale) -> dict[str, float]:
    """Twenty runs of the digits on one worker and on two. joblib does the jobs of a single worker in this process."""
    import dask
    from distributed import Client, LocalCluster

    task = scale.task()
    recipe = Recipe(schedule=Linear(), steps=scale.sweep_steps)
    recipes = [replace(recipe, seed=seed) for seed in range(2 * scale.rows)]
    calls: dict[int, Call] = {}
    with dask.config.set(QUIET), ExitStack() as open_clusters:
        for workers in (1, 2):
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None)
            client = open_clusters.enter_context(Client(open_clusters.enter_context(cluster)))
            calls[workers] = _on(client, task, recipes)
            _on(client, task, [replace(recipe, steps=1, seed=seed) for seed in range(2 * workers)])()  # imports the packages
        taken = in_turns({str(workers): call for workers, call in calls.items()}, scale.repeats)
    one, two = (median(taken[name]) for name in ("1", "2"))
    return {"sweep.one_worker_s": one, "sweep.two_workers_s": two, "sweep.over_one": one / two}


def _on(client: object, task: Task, recipes: list[Recipe]) -> Call:
    def call() -> None:
        with parallel_config(backend="dask", client=client):
            fit_many(task, recipes, progress=False)

    return call


if __name__ == "__main__":
    from _setup import FULL

    print(sweeps(FULL))
