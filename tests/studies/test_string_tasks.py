from __future__ import annotations

from coto_lab.ground.files import data_path, read_json
from coto_lab.studies.string_tasks import RECIPE, TABLE, string_tasks
from coto_lab.tasks.strings import TASKS, TRAIN
from coto_lab.training.recipe import Recipe


def test_every_task_is_unknown_to_the_base_and_learned_by_lora_in_time() -> None:
    table = string_tasks()
    assert list(table.index) == list(TASKS)
    assert (table["base"] < 5).all() and (table["LoRA"] >= 70).all() and (table["seconds"] < 120).all()


def test_the_table_is_of_the_recipe_and_the_data_that_there_are() -> None:
    content = read_json(data_path("gallery", TABLE))
    assert Recipe.from_json(content["recipe"]) == RECIPE
    assert {found["examples"] for found in content["tasks"].values()} == {TRAIN} and TRAIN <= 1024
