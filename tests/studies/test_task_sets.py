"""What is merged: six tasks on digits and six on strings, and how their adapters are trained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coto_lab.gating.schedules import Constant, Linear
from coto_lab.studies.gallery import load_adapters
from coto_lab.studies.legs import STRINGS
from coto_lab.studies.task_sets import (
    GLYPHS,
    RATES,
    SEEDS,
    SWEEP_SEED,
    TASK_SETS,
    TEXTS,
    WAYS,
    TaskSet,
    adapter_name,
    load_joint_adapter,
    load_task_adapters,
    recipe_of,
)  # fmt: skip
from coto_lab.tasks import load_task

sets = pytest.mark.parametrize("tasks", TASK_SETS.values(), ids=TASK_SETS)


@sets
def test_six_tasks_on_one_base_are_joined(tasks: TaskSet) -> None:
    joint = tasks.joint()
    assert joint.name == f"{tasks.name}/joint" and [task.name for task in joint.tasks] == list(tasks.tasks)
    assert len(set(tasks.tasks)) == 6 == len(joint.tasks)
    for split in ("train", "test"):
        ends = [place for own in joint.places(split) for place in (own.start, own.stop - 1)]
        batch = joint.batch(split, ends)
        assert all(len(column) == 12 for column in batch.values())


def test_strings_are_told_apart_by_their_signs() -> None:
    signs = [load_task(name).skill.sign for name in TEXTS.tasks]  # type: ignore[union-attr]
    assert len(set(signs)) == 6 and set(STRINGS.tasks) < set(TEXTS.tasks)


@sets
def test_lora_and_coto_differ_in_the_schedule_alone(tasks: TaskSet) -> None:
    lora, coto = (recipe_of(tasks, way, 0.02, 3) for way in WAYS)
    assert isinstance(lora.schedule, Constant) and isinstance(coto.schedule, Linear)
    assert replace(coto, schedule=lora.schedule) == lora
    assert (lora.lr, lora.seed, lora.steps) == (0.02, 3, tasks.recipe.steps)
    assert replace(lora, lr=tasks.recipe.lr, seed=tasks.recipe.seed) == tasks.recipe
    joint = recipe_of(tasks, "CoTo", 0.02, 3, joint=True)
    assert joint.steps == tasks.joint_steps > tasks.recipe.steps and replace(joint, steps=coto.steps) == coto


def test_rates_are_chosen_on_a_seed_that_is_not_reported() -> None:
    assert SWEEP_SEED not in SEEDS and list(RATES) == sorted(RATES) and (GLYPHS.swept, TEXTS.swept) == (True, False)


def test_names_of_folders() -> None:
    assert adapter_name("glyphs/turned", "CoTo", 0) == "merging/glyphs/turned/coto-seed0"
    names = {
        adapter_name(name, way, seed) for own in TASK_SETS.values() for name in own.tasks for way in WAYS for seed in SEEDS
    }
    assert len(names) == 2 * 6 * 2 * 5


@pytest.mark.parametrize(("way", "seed"), [("lora", 0), ("DoRA", 0), ("LoRA", 5), ("LoRA", -1), ("LoRA", "0"), (None, 0)])
def test_a_way_or_seed_that_there_is_not_is_refused(way: str, seed: int) -> None:
    for load in (load_task_adapters, load_joint_adapter):
        with pytest.raises(ValueError, match=r"way=.*, seed=.*: there are 'LoRA', 'CoTo' with the seeds 0 to 4"):
            load(GLYPHS, way, seed)


def test_the_gallerys_string_adapters_are_taken_from_there() -> None:
    from coto_lab.studies.task_sets import _load

    name = STRINGS.tasks[0]
    for way in WAYS:
        found, expected = _load(TEXTS, name, way, 2), load_adapters(way, name)[2]
        assert found.base == expected.base and found.config == expected.config
        assert all(found.tensors[key].equal(tensor) for key, tensor in expected.tensors.items())
