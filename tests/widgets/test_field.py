"""The number field, driven as a reader drives it."""

import pytest

from coto_lab.widgets.field import NumberField


@pytest.fixture
def ramp():
    return NumberField("ramp", 0.75, 0, 1, 0.05)


def test_slider_field_and_value_say_the_same(ramp):
    assert (ramp.value, ramp.slider.value, ramp.field.value) == (0.75, 0.75, "0.75")
    ramp.slider.value = 0.30000000000000004  # as a browser counts
    assert (ramp.value, ramp.field.value) == (0.3, "0.3")
    ramp.field.value = "0.1"
    assert (ramp.value, ramp.slider.value) == (0.1, 0.1)
    ramp.value = 1
    assert (ramp.slider.value, ramp.field.value) == (1.0, "1")


@pytest.mark.parametrize("typed, place", [("0.333", 0.35), ("0.12", 0.1), ("0.999", 1.0), ("0.01", 0.0)])
def test_a_number_between_two_places_of_the_slider_is_kept(ramp, typed, place):
    ramp.field.value = typed
    assert (ramp.value, ramp.field.value, ramp.problem) == (float(typed), typed, "")
    assert ramp.slider.value == pytest.approx(place, abs=1e-12)
    ramp.slider.value = place * (1 + 2**-52)  # the browser says where it has the handle, with another last digit
    assert (ramp.value, ramp.field.value) == (float(typed), typed)
    ramp.slider.value = 0.5  # and this is a move, and so is the way back
    assert (ramp.value, ramp.field.value) == (0.5, "0.5")
    ramp.slider.value = place
    assert ramp.value == place


def test_every_change_is_observed_once(ramp):
    seen = []
    ramp.observe(lambda change: seen.append(change["new"]), "value")
    ramp.slider.value = 0.5
    ramp.field.value = "0.123456789"  # more digits than are shown: kept
    ramp.value = 0.2
    assert seen == [0.5, 0.123456789, 0.2]


@pytest.mark.parametrize("typed", ["1.5", "-0.01", "nan", "inf", "half", "", "0,5,1", "1,234.5"])
def test_what_is_no_number_or_out_of_range_stays_in_the_field_until_it_is_right(ramp, typed):
    ramp.field.value = typed
    assert ramp.value == ramp.slider.value == 0.75
    assert (ramp.field.value, ramp.problem) == (typed, "Enter a number from 0 to 1")
    assert "error" in ramp.field.layout.border
    ramp.field.value = "0.75"  # what it was
    assert ramp.problem == "" and "transparent" in ramp.field.layout.border
    ramp.field.value = typed
    ramp.restore()
    assert (ramp.field.value, ramp.problem) == ("0.75", "")


@pytest.mark.parametrize("typed", ["33,5", " 33.5 ", "33.5%", "33,5 %"])
def test_a_decimal_comma_and_the_unit_are_understood(typed):
    share = NumberField("share", 50, 0, 100, 1, unit="%")
    share.field.value = typed
    assert (share.value, share.problem, share.field.value) == (33.5, "", "33.5")


def test_moving_the_slider_ends_a_problem(ramp):
    ramp.field.value = "7"
    ramp.slider.value = 0.8
    assert (ramp.value, ramp.field.value, ramp.problem) == (0.8, "0.8", "")
    ramp.field.value = "7"
    ramp.disabled = True
    assert (ramp.field.value, ramp.problem) == ("0.8", "")


def test_typing_the_same_number_otherwise_changes_nothing_but_its_look(ramp):
    ramp.field.value = "7.5e-1"
    assert (ramp.value, ramp.field.value, ramp.problem) == (0.75, "0.75", "")


def test_a_script_that_sets_it_out_of_range_hears_so(ramp):
    with pytest.raises(ValueError, match=r"ramp=1\.5: Enter a number from 0 to 1\."):
        ramp.value = 1.5
    assert ramp.value == 0.75
    with pytest.raises(ValueError, match="ramp=2: Enter"):
        NumberField("ramp", 2, 0, 1, 0.05)


def test_a_limited_range_holds_for_typing_and_sliding(ramp):
    ramp.limit(high=0.8, reason="; p ends at 0.8")
    ramp.field.value = "0.9"
    assert (ramp.value, ramp.problem) == (0.75, "Enter a number from 0 to 0.8; p ends at 0.8")
    ramp.slider.value = 0.95
    assert (ramp.value, ramp.field.value) == (0.8, "0.8") and ramp.slider.value == pytest.approx(0.8)
    assert ramp.problem == "Enter a number from 0 to 0.8; p ends at 0.8"
    ramp.limit()
    ramp.field.value = "0.9"
    assert (ramp.value, ramp.problem) == (0.9, "")


def test_whole_numbers():
    steps = NumberField("steps", 800, 10, 1000, 10, unit="steps", whole=True)
    assert (steps.value, steps.field.value) == (800, "800")
    steps.field.value = "123.5"
    assert steps.value == 800 and steps.problem == "Enter a whole number from 10 to 1000"
    steps.field.value = "1e2"
    assert steps.value == 100 and isinstance(steps.value, int) and steps.field.value == "100"
    steps.field.value = "123"
    assert (steps.value, steps.slider.value, steps.field.value) == (123, 120, "123") and isinstance(steps.value, int)
    steps.slider.value = 5000
    assert steps.value == 1000


def test_logarithmic():
    lr = NumberField("learning rate", 0.01, 1e-3, 0.04, 0.05, log=True)
    assert lr.value == pytest.approx(0.01) and lr.field.value == "0.01"
    lr.slider.value = 10**-2.5
    assert lr.value == 0.003162
    for typed, value in (("0.04", 0.04), ("0.001", 0.001)):  # 10 ** log10(0.04) may be a little less
        lr.field.value = typed
        assert lr.value == value and lr.problem == ""
    lr.field.value = "0.03"  # between two places, a twentieth of a power of ten apart
    assert lr.value == 0.03 and lr.slider.value == pytest.approx(10**-1.5)
    lr.slider.value = 10**-1.5000000000000002
    assert (lr.value, lr.field.value) == (0.03, "0.03")
    whole = NumberField("steps", 100, 10, 1000, 0.1, whole=True, log=True)
    whole.slider.value = 10**2.1
    assert whole.value == 126


def test_disabled_reaches_slider_and_field(ramp):
    ramp.disabled = True
    assert ramp.slider.disabled and ramp.field.disabled
    ramp.disabled = False
    assert not (ramp.slider.disabled or ramp.field.disabled)
