"""The number field, driven as a reader drives it."""

import pytest

from coto_lab.widgets._field import NumberField


@pytest.fixture
def ramp():
    return NumberField("ramp", 0.75, 0, 1, 0.05)


def test_slider_field_and_value_say_the_same(ramp):
    assert (ramp.value, ramp.slider.value, ramp.field.value) == (0.75, 0.75, "0.75")
    ramp.slider.value = 0.30000000000000004  # as a browser counts
    assert (ramp.value, ramp.field.value) == (0.3, "0.3")
    ramp.field.value = "0.125"
    assert (ramp.value, ramp.slider.value) == (0.125, 0.125)
    ramp.value = 1
    assert (ramp.slider.value, ramp.field.value) == (1.0, "1")


def test_every_change_is_observed_once(ramp):
    seen = []
    ramp.observe(lambda change: seen.append(change["new"]), "value")
    ramp.slider.value = 0.5
    ramp.field.value = "0.123456789"  # more digits than are shown: kept
    ramp.value = 0.2
    assert seen == [0.5, 0.123456789, 0.2]


@pytest.mark.parametrize("typed", ["1.5", "-0.01", "nan", "inf", "half", "", "0,5"])
def test_what_is_no_number_or_out_of_range_is_refused_beside_the_field(ramp, typed):
    ramp.field.value = typed
    assert ramp.value == ramp.slider.value == 0.75
    assert ramp.field.value == "0.75"
    assert f"‘{typed}’ was not taken: must be a number from 0 to 1." in ramp.message.value
    assert 'aria-live="polite"' in ramp.message.value
    ramp.field.value = "0.5"
    assert ramp.message.value == ""


def test_typing_the_same_number_otherwise_changes_nothing_but_its_look(ramp):
    ramp.field.value = "7.5e-1"
    assert (ramp.value, ramp.field.value, ramp.message.value) == (0.75, "0.75", "")


def test_a_message_shows_what_was_typed_as_text(ramp):
    ramp.field.value = "<b>1</b>"
    assert "&lt;b&gt;1&lt;/b&gt;" in ramp.message.value


def test_a_script_that_sets_it_out_of_range_hears_so(ramp):
    with pytest.raises(ValueError, match=r"ramp=1\.5: must be a number from 0 to 1"):
        ramp.value = 1.5
    assert ramp.value == 0.75
    with pytest.raises(ValueError, match="ramp=2: must be"):
        NumberField("ramp", 2, 0, 1, 0.05)


def test_whole_numbers():
    steps = NumberField("steps", 800, 10, 1000, 10, unit="steps", whole=True)
    assert (steps.value, steps.field.value) == (800, "800")
    steps.field.value = "123.5"
    assert steps.value == 800 and "must be a whole number" in steps.message.value
    steps.field.value = "1e2"
    assert steps.value == 100 and isinstance(steps.value, int) and steps.field.value == "100"
    steps.slider.value = 5000
    assert steps.value == 1000


def test_logarithmic():
    lr = NumberField("learning rate", 0.01, 1e-3, 0.04, 0.05, log=True)
    assert lr.value == pytest.approx(0.01) and lr.field.value == "0.01"
    lr.slider.value = 10**-2.5
    assert lr.value == 0.003162
    for typed, value in (("0.04", 0.04), ("0.001", 0.001)):  # 10 ** log10(0.04) may be a little less
        lr.field.value = typed
        assert lr.value == value and lr.message.value == ""
    whole = NumberField("steps", 100, 10, 1000, 0.1, whole=True, log=True)
    whole.slider.value = 10**2.1
    assert whole.value == 126


def test_disabled_reaches_slider_and_field(ramp):
    ramp.disabled = True
    assert ramp.slider.disabled and ramp.field.disabled
    ramp.disabled = False
    assert not (ramp.slider.disabled or ramp.field.disabled)
