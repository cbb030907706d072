"""The controls of the next training, moved as a reader moves them; what is trained then is in test_live.py."""

from dataclasses import replace

import pytest

from coto_lab import Constant, Linear, Recipe, Sine
from coto_lab.gating.schedules import Schedule
from coto_lab.widgets.settings import Settings


def test_controls_leave_recipes_alone_until_they_are_moved():
    recipes = {
        "LoRA": Recipe(lr=0.3),
        "half": Recipe(schedule=Constant(0.5)),
        "CoTo": Recipe(schedule=Sine(0.1, 0.9)),
    }
    settings = Settings(recipes)
    assert settings.recipes == recipes
    assert (settings.lr.value, settings.shape.value, settings.p.value) == (0.3, "Constant", 0.5)
    settings.p.slider.value = 0.25
    assert settings.recipes == recipes | {"half": replace(recipes["half"], schedule=Constant(0.25))}
    settings.shape.value = "Linear"
    assert settings.recipes["half"].schedule == Linear(0.0) and not settings.ramp.disabled


def test_a_constant_has_p_where_a_ramp_has_a_start():
    settings = Settings({"half": Recipe(schedule=Constant(0.5))})
    for shape, shown, hidden in (("Constant", settings.p, settings.start), ("Sine", settings.start, settings.p)):
        settings.shape.value = shape
        assert (shown.layout.display, hidden.layout.display) == ("", "none")
        assert settings.ramp.disabled == (shape == "Constant")
    assert (settings.p.label, settings.start.label) == ("p", "starts at")


@pytest.mark.parametrize("typed", ["0.04", "0.02", "0.005", "0.025", "0.0316"])
def test_a_learning_rate_is_trained_as_it_was_typed(typed):
    settings = Settings({"LoRA": Recipe(), "CoTo": Recipe(schedule=Linear())})
    settings.lr.field.value = typed
    assert {recipe.lr for recipe in settings.recipes.values()} == {float(typed)}
    assert settings.lr.field.value == typed
    settings.lr.value = 0.03
    assert {recipe.lr for recipe in settings.recipes.values()} == {0.03}


def test_what_to_enter_is_said_until_another_control_is_used():
    settings = Settings({"LoRA": Recipe(), "CoTo": Recipe(schedule=Linear())})
    message = settings.message
    settings.lr.field.value = "5"
    assert "lr: Enter a number from 0.0001 to 0.1." in message.value
    settings.shape.value = "Sine"
    assert (message.value, settings.lr.field.value) == ("", "0.01")
    settings.lr.field.value = "5"
    settings.disabled = True  # as when the training starts
    assert (message.value, settings.lr.field.value) == ("", "0.01")


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
    assert settings.children == (settings.lr, settings.message)
