"""The prediction box, driven as a reader drives it."""

from coto_lab.widgets import Prediction


def test_a_guess_counts_when_it_is_locked_and_cannot_be_changed_afterwards():
    prediction = Prediction("Accuracy?", start=70)
    lora, coto = prediction._sliders.values()
    lora.value = 55
    assert prediction.guesses == {}
    prediction.lock.click()
    assert prediction.guesses == {"LoRA": 55, "CoTo": 70}
    assert lora.disabled and coto.disabled and prediction.lock.disabled
    assert "LoRA 55%, CoTo 70%" in prediction._text.value


def test_sliders_stay_between_0_and_100_percent():
    slider = Prediction("Accuracy?")._sliders["LoRA"]
    slider.value = 170
    assert slider.value == 100
