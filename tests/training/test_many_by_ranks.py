"""Two processes of a gloo group share the groups of `fit_many`, and both get all runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from same import same
from tiny_tasks import language_task
from two_ranks import run_two

from coto_lab import Recipe, Run, fit_many

_WORKER = """
import json, os, pathlib, sys
import torch
from dataclasses import replace
from tiny_tasks import language_task
from coto_lab import Recipe, fit_many
from coto_lab.training import many
out, rank = pathlib.Path(sys.argv[1]), int(os.environ["RANK"])
sizes, fit_together = [], many.fit_together

def spied(task, recipes, *rest):
    sizes.append([recipe.seed for recipe in recipes])
    return fit_together(task, recipes, *rest)

many.fit_together = spied
base = Recipe(r=2, steps=4, batch_size=8)
recipes = [replace(base, seed=seed) for seed in range(5)] + [replace(base, method="dora")]
runs = fit_many(language_task(), recipes, progress=False)
for i, run in enumerate(runs):
    run.save(out / f"rank{rank}" / str(i))
kept = fit_many(language_task(), recipes, folder=out / "sweep", progress=False)
again = fit_many(language_task(), recipes, folder=out / "sweep", progress=False)
try:
    fit_many(language_task(), recipes[rank:], progress=False)
except ValueError as error:
    refused = str(error)
seeds = {"seeds": [run.recipe.seed for run in runs], "kept": [run.recipe.seed for run in kept]}
facts = {"refused": refused, "sizes": sizes, **seeds}
(out / f"rank{rank}.json").write_text(json.dumps(facts))
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the two processes left what they did."""
    folder = tmp_path_factory.mktemp("ranks")
    run_two(_WORKER, folder)
    return folder


def test_each_process_trains_its_share_and_gets_all(out: Path) -> None:
    found = [json.loads((out / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert [own["seeds"] for own in found] == [[0, 1, 2, 3, 4, 0]] * 2 == [own["kept"] for own in found]
    # Without a folder and with one, and not a third time: of six runs, three are for each process.
    assert [own["sizes"] for own in found] == [[[0, 1, 2]] * 2, [[3, 4]] * 2]


def test_processes_that_were_given_other_recipes_are_refused(out: Path) -> None:
    for rank in range(2):
        refused = json.loads((out / f"rank{rank}.json").read_text())["refused"]
        assert refused.startswith("the processes do not agree: number of recipes is 6 on process 0 and 5 on process 1.")


def test_the_runs_are_those_of_one_process(out: Path) -> None:
    runs = [[Run.load(out / f"rank{rank}" / str(i)) for i in range(6)] for rank in range(2)]
    assert all(same(a.adapter, b.adapter) for a, b in zip(*runs, strict=True))
    kept = {path.name: Run.load(path) for path in (out / "sweep").iterdir()}
    assert len(kept) == 6 and all(any(same(run.adapter, own.adapter) for own in kept.values()) for run in runs[0])
    base = runs[0][0].recipe
    assert base == Recipe(r=2, steps=4, batch_size=8)
    alone = fit_many(language_task(), [run.recipe for run in runs[0][:3]], progress=False)
    assert all(same(a.adapter, b.adapter) for a, b in zip(runs[0], alone, strict=False)), "the same group, bit for bit"
    (dora,) = fit_many(language_task(), [runs[0][5].recipe], progress=False)
    for name, tensor in dora.adapter.tensors.items():  # each process had half of its batches
        torch.testing.assert_close(runs[0][5].adapter.tensors[name], tensor, rtol=0, atol=1e-3)
