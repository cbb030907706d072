"""The controls of the next training, moved as a reader moves them; what is trained then is in test_live.py."""

from dataclasses import replace

import pytest

from coto_lab import Constant, Linear, Recipe, Sine
from coto_lab.schedules import Schedule
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


def test_the_end_of_a_ramp_stays_as_it_was_given():
    settings = Settings({"CoTo": Recipe(schedule=Linear(0.1, 0.8, 0.5))})
    assert settings.ramp.label == "is 0.8 after"
    settings.ramp.slider.value = 0.6
    assert settings.recipes["CoTo"].schedule == Linear(0.1, 0.8, 0.6)


def test_a_schedule_without_controls_is_refused():
    class Steps(Schedule):
        def __call__(self, progress):
            return 1.0

    with pytest.raises(ValueError, match=r"recipes\['mine'\] has schedule=.*use one of Linear, Sine"):
        Settings({"mine": Recipe(schedule=Steps())})


def test_without_a_recipe_that_drops_blocks_there_is_no_schedule_to_set():
    settings = Settings({"LoRA": Recipe()})
    assert settings.children == (settings.lr,)
