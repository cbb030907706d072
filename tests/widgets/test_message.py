"""The line that says what to enter, beside fields, a choice and a button."""

import ipywidgets as widgets
import pytest

from coto_lab.widgets.field import NumberField
from coto_lab.widgets.message import Message
from coto_lab.widgets.view import plain


@pytest.fixture
def controls():
    steps = NumberField("steps", 800, 10, 5000, 10, whole=True)
    return {
        "steps": steps,
        "ramp": NumberField("ramp", 0.75, 0, 1, 0.05),
        "shape": widgets.Dropdown(options=["Linear", "Sine"]),
        "reset": widgets.Button(),
    }


@pytest.fixture
def message(controls):
    return Message(list(controls.values()))


def test_it_says_what_to_enter_until_the_field_is_right(controls, message):
    controls["steps"].field.value = "many"
    assert plain(message.value) == "steps: Enter a whole number from 10 to 5000." and 'aria-live="polite"' in message.value
    controls["steps"].field.value = "5001"
    assert plain(message.value) == "steps: Enter a whole number from 10 to 5000."
    controls["steps"].field.value = "123"
    assert (message.value, controls["steps"].value) == ("", 123)


def test_its_place_is_kept(controls, message):
    height = message.layout.height
    controls["steps"].field.value = "many"
    assert message.layout.height == height is not None


@pytest.mark.parametrize(
    "use",
    [
        lambda controls: setattr(controls["ramp"].slider, "value", 0.5),
        lambda controls: setattr(controls["ramp"].field, "value", "0.1"),
        lambda controls: setattr(controls["shape"], "value", "Sine"),
        lambda controls: controls["reset"].click(),
    ],
    ids=["a slider is moved", "a number is typed", "a choice is made", "a button is pressed"],
)
def test_another_control_ends_it_and_the_field_shows_the_number_in_use(controls, message, use):
    controls["steps"].field.value = "many"
    use(controls)
    assert (message.value, controls["steps"].field.value, controls["steps"].problem) == ("", "800", "")


def test_of_two_fields_that_are_wrong_the_last_one_is_told(controls, message):
    controls["steps"].field.value = "many"
    controls["ramp"].field.value = "2"
    assert plain(message.value) == "ramp: Enter a number from 0 to 1."
    assert (controls["steps"].field.value, controls["ramp"].field.value) == ("800", "2")


def test_what_else_it_says_stays_until_a_control_is_used(controls, message):
    message.say("a < b")
    assert plain(message.value) == "a < b"
    controls["reset"].click()
    assert message.value == ""
