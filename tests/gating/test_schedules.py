"""Activation schedules against numbers worked out by hand."""

import dataclasses
import doctest
import itertools
import math

import numpy as np
import pytest

from coto_lab import Constant, Exponential, Linear, Sine
from coto_lab.gating import schedules
from coto_lab.gating.schedules import check_schedule

RAMPS = (Linear, Sine, Exponential)
every_ramp = pytest.mark.parametrize("shape", RAMPS)


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        (Linear(), 0.25, 1 / 3),
        (Linear(), 0.5, 2 / 3),
        (Linear(start=0.2, end=0.6, ramp=0.5), 0.25, 0.4),
        (Sine(), 0.25, 0.5),  # sin 30°
        (Sine(ramp=1.0), 0.5, math.sqrt(2) / 2),
        (Sine(start=0.5, ramp=0.3), 0.1, 0.75),
        (Exponential(ramp=1.0), 0.5, 1 / (math.e**2 + 1)),  # (e² - 1) / (e⁴ - 1)
        (Exponential(ramp=0.5), 0.125, (math.e - 1) / (math.e**4 - 1)),
        (Exponential(start=0.2, end=0.7, ramp=0.5), 0.375, 0.2 + 0.5 * (math.e**3 - 1) / (math.e**4 - 1)),
        (Constant(0.3), 0.0, 0.3),
        (Constant(0.3), 1.0, 0.3),
        (Constant(), 0.5, 1.0),
    ],
    ids=repr,
)
def test_values_worked_out_by_hand(schedule, progress, expected):
    assert schedule(progress) == pytest.approx(expected, abs=1e-12)


@every_ramp
@pytest.mark.parametrize("ramp", [0.3, 0.75, 1.0])
def test_a_ramp_goes_from_start_to_end_and_stays(shape, ramp):
    schedule = shape(start=0.1, end=0.9, ramp=ramp)
    assert schedule(0.0) == 0.1
    assert schedule(ramp - 1e-9) == pytest.approx(0.9, abs=1e-6)
    assert schedule(ramp) == schedule(1.0) == 0.9


@every_ramp
def test_a_ramp_of_0_is_at_its_end_from_the_first_step_on(shape):
    assert [shape(start=0.1, end=0.8, ramp=0.0)(progress) for progress in (0.0, 0.5, 1.0)] == [0.8, 0.8, 0.8]


@every_ramp
def test_a_ramp_rises_throughout_and_never_leaves_start_and_end(shape):
    values = [shape(start=0.1, end=0.7, ramp=0.75)(step / 1000) for step in range(1001)]
    assert all(before < after for before, after in itertools.pairwise(values[:751]))
    assert min(values) == 0.1
    assert set(values[750:]) == {0.7}


def test_sine_is_above_linear_and_linear_above_exponential():
    for progress in (0.1, 0.4, 0.7):
        assert Sine()(progress) > Linear()(progress) > Exponential()(progress)


BAD = [-0.1, 1.1, math.nan, math.inf, -math.inf, True, "0.5", None]


@pytest.mark.parametrize("bad", BAD, ids=repr)
@pytest.mark.parametrize(
    ("make", "name"),
    [(shape, name) for shape in RAMPS for name in ("start", "end", "ramp")] + [(Constant, "p")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_bad_setting_is_refused_by_name_and_value(make, name, bad):
    with pytest.raises(ValueError, match=f"^{name}={bad!r}: must be"):
        make(**{name: bad})


@pytest.mark.parametrize("bad", BAD, ids=repr)
@pytest.mark.parametrize("schedule", [*(shape() for shape in RAMPS), Constant(0.5)], ids=repr)
def test_a_bad_progress_is_refused(schedule, bad):
    with pytest.raises(ValueError, match=f"^progress={bad!r}: must be"):
        schedule(bad)


@every_ramp
def test_a_start_above_the_end_is_refused_and_an_equal_one_is_constant(shape):
    with pytest.raises(ValueError, match=r"start=0\.6 is above end=0\.5"):
        shape(start=0.6, end=0.5)
    assert {shape(start=0.5, end=0.5)(progress) for progress in (0.0, 0.3, 1.0)} == {0.5}


@pytest.mark.parametrize("schedule", [*(shape() for shape in RAMPS), Constant()], ids=repr)
def test_a_schedule_is_a_frozen_value(schedule):
    assert schedule == type(schedule)()
    assert hash(schedule) == hash(type(schedule)())
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, dataclasses.fields(schedule)[0].name, 0.5)


def test_names_lists_the_schedules():
    assert {getattr(schedules, name) for name in schedules.NAMES} == {*RAMPS, Constant}


def test_the_documented_examples_are_right():
    failed, tried = doctest.testmod(schedules)
    assert (failed, tried) == (0, 4)


@every_ramp
def test_numbers_of_numpy_are_stored_as_those_of_python(shape):
    schedule = shape(start=np.float32(0.25), end=np.int64(1), ramp=np.float64(0.5))
    assert schedule == shape(start=0.25, end=1.0, ramp=0.5)
    assert {type(value) for value in dataclasses.astuple(schedule)} == {float}
    assert type(schedule(np.float32(0.25))) is float
    assert type(Constant(np.float32(0.5)).p) is float


def test_a_function_of_progress_from_0_to_1_is_a_schedule_if_it_gives_probabilities():
    asked = []

    def falling(progress):
        asked.append(progress)
        return 1 - progress  # 1, 0.5, 0: both ends are probabilities

    assert check_schedule(falling) is falling and asked == [0.0, 0.5, 1.0]
    assert check_schedule(linear := Linear()) is linear


@pytest.mark.parametrize("bad", [lambda t: t + 0.1, lambda t: t - 0.1, lambda t: math.nan, lambda: 0.5, Linear, "linear", 0.5])
def test_anything_else_is_no_schedule(bad):
    with pytest.raises(ValueError, match=r"gives .* at progress 0, 0\.5 and 1: must be a schedule such as Linear\(\)"):
        check_schedule(bad)


def test_a_class_that_could_be_called_with_a_progress_is_no_schedule():
    with pytest.raises(ValueError, match=r"schedule=<class 'float'> gives \[0\.0, 0\.5, 1\.0\]"):
        check_schedule(float)
