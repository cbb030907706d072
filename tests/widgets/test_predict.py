"""The prediction box, driven as a reader drives it, and the answer in a real kernel."""

import nbformat
import plotly.graph_objects as go
import pytest
from nbclient import NotebookClient

from coto_lab.widgets import Prediction
from coto_lab.widgets.view import plain


@pytest.fixture
def prediction():
    return Prediction("Accuracy?", start=70)


@pytest.fixture
def drawn():
    """Guesses with which a figure was made."""
    return []


@pytest.fixture
def draw(drawn):
    def record_and_draw(guesses):
        drawn.append(dict(guesses))
        return go.Figure()

    return record_and_draw


def told(prediction):
    return plain(prediction._text.value)


def test_a_guess_counts_when_it_is_recorded_and_can_be_changed(prediction):
    lora, coto = prediction._fields.values()
    lora.slider.value = 55
    assert prediction.guesses == {}
    prediction.record.click()
    assert prediction.guesses == {"LoRA": 55, "CoTo": 70}
    assert told(prediction) == "Recorded: LoRA 55%, CoTo 70%. You can change your guess until the answer is shown."
    coto.field.value = "93.5"
    prediction.record.click()
    assert prediction.guesses == {"LoRA": 55, "CoTo": 93.5}
    assert "CoTo 93.5%" in told(prediction)


def test_the_answer_shows_the_guess_and_ends_it(prediction, draw, drawn):
    prediction.record.click()
    prediction._fields["LoRA"].slider.value = 20  # not recorded
    prediction.reveal(draw)
    assert drawn == [{"LoRA": 70, "CoTo": 70}]
    assert [field.value for field in prediction._fields.values()] == [70, 70]
    assert all(field.disabled for field in prediction._fields.values()) and prediction.record.disabled
    assert told(prediction) == "Your guess was LoRA 70%, CoTo 70%. The figure shows it as crosses."


def test_an_answer_that_is_shown_already_takes_the_first_guess(prediction, draw, drawn):
    prediction.reveal(draw)
    assert drawn == [{}] and not prediction.record.disabled
    assert "If you record a guess now, the figure shows it, too." in told(prediction)
    prediction.record.click()
    assert drawn == [{}, {"LoRA": 70, "CoTo": 70}] and prediction.record.disabled
    prediction.reveal(draw)  # the cell is run again
    assert drawn[2:] == [{"LoRA": 70, "CoTo": 70}]


def test_the_truth_must_be_about_the_methods_and_nothing_is_shown_else(prediction, draw, drawn):
    with pytest.raises(ValueError, match=r"truth has \['dropout'\]: the question is about \['LoRA', 'CoTo'\] only"):
        prediction.reveal(draw, {"LoRA": 50, "dropout": 50})
    assert drawn == [] and "record your guess" in told(prediction)


def test_a_guess_above_100_percent_is_refused_and_a_line_says_what_to_enter(prediction):
    guess = prediction._fields["LoRA"]
    guess.field.value = "170"
    assert guess.value == 70
    assert plain(prediction.message.value) == "LoRA: Enter a number from 0 to 100."
    prediction.record.click()
    assert prediction.guesses == {} and "Nothing was recorded" in prediction._text.value
    assert plain(prediction.message.value) == "LoRA: Enter a number from 0 to 100."  # it still stands there
    guess.field.value = "72.5"
    assert guess.value == 72.5 and guess.problem == ""
    prediction.record.click()
    assert prediction.guesses["LoRA"] == 72.5


def test_no_methods_are_refused():
    with pytest.raises(ValueError, match="methods is empty"):
        Prediction("Accuracy?", [])


CELLS = (
    """import plotly.graph_objects as go
from coto_lab.widgets import Prediction
prediction = Prediction("Accuracy?", start=70)""",
    "prediction.reveal(lambda guesses: go.Figure(go.Bar(y=list(guesses.values()))), {'LoRA': 58.2, 'CoTo': 70})",
    "prediction.record.click()",
    "prediction.reveal(lambda guesses: go.Figure(go.Bar(y=list(guesses.values()))), {'LoRA': 70.96})",
)


@pytest.mark.slow
def test_in_a_notebook_a_later_guess_changes_the_figure_where_it_stands(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    NotebookClient(notebook, timeout=120).execute(cleanup_kc=True)
    _, shown, clicked, again = (cell.outputs for cell in notebook.cells)
    figure, sentence = (output["data"] for output in shown)
    assert list(figure["application/vnd.plotly.v1+json"]["data"][0]["y"]) == [70, 70]
    assert plain(sentence["text/html"]) == (
        "Your guess for LoRA, 70%, is 11.8 points too high: the answer is 58.2%. "
        "Your guess for CoTo, 70%, is exactly right: the answer is 70.0%."
    )
    assert clicked == []
    assert "LoRA, 70%, is 1 point too low: the answer is 71.0%." in plain(again[1]["data"]["text/html"])
