"""Finished runs of a sweep are found again, and nothing else is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from same import same

from coto_lab import Recipe, Run, Task, fit, fit_many
from coto_lab.training.many import _train
from coto_lab.training.run_folder import RunFolder

RECIPE = Recipe(r=2, steps=3, batch_size=8)
RECIPES = [replace(RECIPE, seed=seed) for seed in range(3)]


@pytest.fixture
def loads(tiny_task: Task) -> tuple[Task, list[int]]:
    """The task, and a list that grows whenever its base model is loaded."""
    seen: list[int] = []
    return replace(tiny_task, load_base=lambda: seen.append(1) or tiny_task.load_base()), seen


def test_what_is_there_is_not_trained_again(loads: tuple[Task, list[int]], tmp_path: Path) -> None:
    task, seen = loads
    first = fit_many(task, RECIPES[:2], folder=tmp_path / "sweep", progress=False)
    trained = len(seen)
    again = fit_many(task, RECIPES[:2], folder=tmp_path / "sweep", progress=False)
    assert trained > 0 and len(seen) == trained
    assert all(same(a.adapter, b.adapter) and a.recipe == b.recipe for a, b in zip(first, again, strict=True))
    more = fit_many(task, [RECIPES[2], *RECIPES[:2]], folder=tmp_path / "sweep", progress=False)
    assert [run.recipe.seed for run in more] == [2, 0, 1] and len(list((tmp_path / "sweep").iterdir())) == 3
    assert same(more[0].adapter, fit(task, RECIPES[2], progress=False).adapter), "alone, it is trained as by fit"
    assert same(more[1].adapter, first[0].adapter)


def test_without_a_folder_the_runs_are_the_same(tiny_task: Task, tmp_path: Path) -> None:
    kept = fit_many(tiny_task, RECIPES, folder=tmp_path, progress=False)
    for a, b in zip(kept, fit_many(tiny_task, RECIPES, progress=False), strict=True):
        assert same(a.adapter, b.adapter) and a.history.loss.equal(b.history.loss)


def test_a_recipe_that_is_given_twice_is_trained_once(tiny_task: Task, tmp_path: Path) -> None:
    runs = fit_many(tiny_task, [RECIPE, RECIPES[1], RECIPE], folder=tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 2 and same(runs[0].adapter, runs[2].adapter)


def test_each_recipe_task_and_base_has_a_place_of_its_own(tiny_task: Task, tmp_path: Path) -> None:
    tasks = [tiny_task, replace(tiny_task, name="other"), replace(tiny_task, base="other base")]
    recipes = [RECIPE, replace(RECIPE, lr=0.02), replace(RECIPE, seed=1), replace(RECIPE, method="dora")]
    places = {RunFolder(tmp_path, task).place_of(recipe) for task in tasks for recipe in recipes}
    assert len(places) == 12
    assert all(place.parent == tmp_path for place in places)


def test_of_two_workers_the_faster_one_keeps_its_run(tiny_task: Task, tmp_path: Path) -> None:
    store, run = RunFolder(tmp_path, tiny_task), fit(tiny_task, RECIPE, progress=False)
    store.save(run)
    store.save(replace(run, history=fit(tiny_task, RECIPE, progress=False).history))
    assert store.load(RECIPE).history.seconds.equal(run.history.seconds)


def test_a_folder_with_other_things_is_refused(tiny_task: Task, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileExistsError, match=r"holds 'notes.txt', which is no run of a sweep. Choose a new folder"):
        fit_many(tiny_task, RECIPES, folder=tmp_path, progress=False)
    with pytest.raises(FileExistsError, match=r"is a file. Choose a new folder"):
        fit_many(tiny_task, RECIPES, folder=tmp_path / "notes.txt", progress=False)


def test_a_damaged_run_and_one_under_the_name_of_another_are_named_before_others_are_trained(
    loads: tuple[Task, list[int]], tmp_path: Path
) -> None:
    task, seen = loads
    fit_many(task, RECIPES[:2], folder=tmp_path, progress=False)
    store, trained = RunFolder(tmp_path, task), len(seen)
    first, second = (store.place_of(recipe) for recipe in RECIPES[:2])
    weights = second / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"safetensors.* Delete the folder '.*{second.name}', and its run is trained again"):
        fit_many(task, RECIPES, folder=tmp_path, progress=False)
    (second / "run.json").unlink()
    with pytest.raises(ValueError, match=r"run.json.* Delete the folder"):
        fit_many(task, RECIPES, folder=tmp_path, progress=False)
    assert len(seen) == trained
    shutil.rmtree(second)
    Run.load(first).save(second, overwrite=True)
    with pytest.raises(ValueError, match=f"{second.name}.*another recipe, task or base model than its name says"):
        fit_many(task, RECIPES[:2], folder=tmp_path, progress=False)


def test_a_folder_that_a_worker_does_not_see_is_named(tiny_task: Task, tmp_path: Path) -> None:
    store = RunFolder(tmp_path / "gone", tiny_task)
    store.path.rmdir()
    with pytest.raises(FileNotFoundError, match="is not there for this worker: give a folder that all machines share"):
        _train(tiny_task, store, [RECIPE])


def test_a_group_that_is_given_again_is_trained_no_further_than_it_was_saved(
    loads: tuple[Task, list[int]], tmp_path: Path
) -> None:
    task, seen = loads
    store = RunFolder(tmp_path, task)
    _train(task, store, RECIPES[:2])
    trained = len(seen)
    _train(task, store, RECIPES[:2])  # as when its worker was lost after it had saved them
    assert trained > 0 and len(seen) == trained
    _train(task, store, RECIPES)
    assert store.missing(RECIPES) == [] and len(seen) > trained


def test_runs_of_other_versions_are_taken_with_one_warning(tiny_task: Task, tmp_path: Path) -> None:
    fit_many(tiny_task, RECIPES, folder=tmp_path, progress=False)
    for place in tmp_path.iterdir():
        about = json.loads((place / "run.json").read_text())
        about["versions"]["torch"] = "1.13"
        (place / "run.json").write_text(json.dumps(about))
    with pytest.warns(UserWarning, match=r"was trained with torch 1\.13, and this process has torch 2.*delete those") as warned:
        assert len(fit_many(tiny_task, RECIPES, folder=tmp_path, progress=False)) == 3
    assert len([one for one in warned if "was trained with" in str(one.message)]) == 1
