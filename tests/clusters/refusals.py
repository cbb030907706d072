"""What `fit_many` says on clusters that cannot do its work: ``python refusals.py FOLDER`` writes the messages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from distributed import Client, LocalCluster
from joblib import parallel_config
from tiny_tasks import language_task

from coto_lab import Recipe, fit_many


@contextmanager
def two_workers_with(packages: Path, address: str) -> Iterator[None]:
    """Workers that find other packages before those of this environment."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nworkers", "2", "--nthreads", "1"]
    worker = subprocess.Popen([*command, "--no-dashboard"], env={**os.environ, "PYTHONPATH": str(packages)})
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(60)


def said(client: Client) -> str:
    """How a sweep of two groups ends."""
    recipes = [Recipe(r=2, steps=200, batch_size=8, seed=seed) for seed in range(4)]
    try:
        with parallel_config(backend="dask", client=client, wait_for_workers_timeout=1):
            fit_many(language_task(), recipes, progress=False)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def main(out: Path) -> None:
    warnings.simplefilter("ignore")
    facts = {}
    with LocalCluster(n_workers=0, dashboard_address=None) as cluster, Client(cluster) as client:
        facts["no worker"] = said(client)
        with two_workers_with(out / "packages", cluster.scheduler_address):
            client.wait_for_workers(2, timeout=150)
            facts["another version"] = said(client)
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster, Client(cluster) as client:
        facts["two threads"] = said(client)
    (out / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
