"""Widgets that answer a page which was late; that the page then follows the kernel is in tests/browser/test_late_page.py."""

import plotly.graph_objects as go
import pytest
from ipywidgets import IntSlider

from coto_lab.widgets.drawing_pad import Pad
from coto_lab.widgets.figure import LiveFigure
from coto_lab.widgets.late import answer_late


def heard(widget, monkeypatch, content):
    """The states that a widget sends when a page says this."""
    sent = []
    monkeypatch.setattr(widget, "_send", lambda message, buffers=None: sent.append(message["state"]))
    widget._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})
    return sent


def test_a_late_page_gets_the_parts_as_they_stand(monkeypatch):
    slider = IntSlider(3, max=9)
    answer_late(slider, ["value", "max"])
    slider.value = 5
    assert heard(slider, monkeypatch, "late") == [{"value": 5, "max": 9}]


@pytest.mark.parametrize("content", ["early", {"event": "late"}, None])
def test_other_messages_get_no_answer(monkeypatch, content):
    slider = IntSlider()
    answer_late(slider, ["value"])
    assert heard(slider, monkeypatch, content) == []


def test_a_figure_sends_the_whole_of_it(monkeypatch):
    figure = LiveFigure(go.Figure(go.Scatter(y=[1, 2])))
    figure.data[0].y = [3, 4]
    (state,) = heard(figure, monkeypatch, "late")
    assert state["_widget_data"][0]["y"] == [3, 4] and state.keys() == {"_widget_data", "_widget_layout"}


def test_a_pad_sends_its_image(monkeypatch):
    pad = Pad()
    pad.counts = [7] * 64
    assert heard(pad, monkeypatch, "late") == [{"counts": [7] * 64}]
