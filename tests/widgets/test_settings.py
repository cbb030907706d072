"""The controls of the next training, moved as a reader moves them; what is trained then is in test_live.py."""

from dataclasses import replace

from coto_lab import Constant, Linear, Recipe, Sine
from coto_lab.widgets._settings import Settings


def test_controls_leave_recipes_alone_until_they_are_moved():
    recipes = {
        "LoRA": Recipe(lr=0.3),
        "half": Recipe(schedule=Constant(0.5)),
        "CoTo": Recipe(schedule=Sine(0.1, 0.9)),
    }
    settings = Settings(recipes)
    assert settings.recipes == recipes
    assert (settings.lr.value, settings.shape.value, settings.start.value) == (0.3, "Constant", 0.5)
    assert settings.ramp.disabled  # a constant has none
    settings.start.slider.value = 0.25
    assert settings.recipes == recipes | {"half": replace(recipes["half"], schedule=Constant(0.25))}
    settings.shape.value = "Linear"
    assert settings.recipes["half"].schedule == Linear(0.25) and not settings.ramp.disabled


def test_without_a_recipe_that_drops_blocks_there_is_no_schedule_to_set():
    settings = Settings({"LoRA": Recipe()})
    assert settings.children == (settings.lr,)
