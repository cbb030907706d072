"""The prediction box, driven as a reader drives it."""

import pytest

from coto_lab.widgets import Prediction


def test_a_guess_counts_when_it_is_locked_and_cannot_be_changed_afterwards():
    prediction = Prediction("Accuracy?", start=70)
    lora, coto = prediction._fields.values()
    lora.slider.value = 55
    assert prediction.guesses == {}
    prediction.lock.click()
    assert prediction.guesses == {"LoRA": 55, "CoTo": 70}
    assert lora.disabled and coto.disabled and prediction.lock.disabled
    assert "LoRA 55%, CoTo 70%" in prediction._text.value


def test_a_guess_above_100_percent_is_refused_beside_the_field():
    guess = Prediction("Accuracy?")._fields["LoRA"]
    guess.field.value = "170"
    assert guess.value == 50 and "‘170’ was not taken: must be a number from 0 to 100" in guess.message.value
    guess.field.value = "72.5"
    assert guess.value == 72.5 and guess.message.value == ""


def test_no_methods_are_refused():
    with pytest.raises(ValueError, match="methods is empty"):
        Prediction("Accuracy?", [])
