"""The figure that tells its present state; that a browser shows it is in tests/browser."""

import numpy as np
import plotly.graph_objects as go
import pytest
from ipywidgets import Widget

from coto_lab.widgets.figure import Library, LiveFigure


@pytest.fixture
def figure():
    curve, bars = go.Scatter(x=[0, 1], y=[0.0, 1.0], line={"color": "black"}), go.Bar(x=["a", "b"], y=[1, 2])
    return LiveFigure(go.Figure([curve, bars], {"title": {"text": "before"}}))


@pytest.fixture
def updates(figure):
    """What `figure` tells the page of batches."""
    told = []
    figure.observe(lambda change: change["new"] and told.append(change["new"]), "_py2js_update")
    return told


def told(figure):
    """Data and layout, as a page that is loaded anew gets them."""
    state = figure.get_state()
    return state["_widget_data"], state["_widget_layout"]


def test_a_new_page_gets_the_figure_as_it_stands(figure):
    y = np.array([np.nan, 3], dtype=np.float32)
    with figure.batch_update():
        figure.data[0].update(y=y, line_color="red")
        figure.layout.title.text = "after"
    figure.data[1].y = [5, 6]
    figure.add_shape(x0=0, x1=1, y0=0, y1=1)
    (curve, bars), layout = told(figure)
    assert curve["y"]["dtype"] == "float32" and np.array_equal(np.asarray(curve["y"]["buffer"]), y, equal_nan=True)
    assert (curve["line"]["color"], bars["x"], bars["y"]) == ("red", ["a", "b"], [5, 6])
    assert layout["title"]["text"] == "after" and len(layout["shapes"]) == 1


def test_a_part_of_the_state_is_that_part_alone(figure):
    figure.data[1].y = [5, 6]
    assert figure.get_state("_widget_data")["_widget_data"][1]["y"] == [5, 6]
    assert figure.get_state("_view_count").keys() == {"_view_count"}


def test_a_batch_leaves_nothing_that_a_trace_has_undefined(figure, updates):
    with figure.batch_update():
        figure.data[0].update(x=[0, 2], line_width=3)
        figure.data[1].y = [5, 6]
    (update,) = updates
    style = update["style_data"]
    assert list(map(list, style["x"])) == [[0, 2], ["a", "b"]] and list(map(list, style["y"])) == [[0, 1], [5, 6]]
    assert style["line.width"] == [3, None]  # bars have no line
    assert update["layout_data"] == {}


def test_a_batch_says_no_more_than_what_changed(figure, updates):
    with figure.batch_update():
        figure.data[1].update(x=["a", "b"], y=[5, 6])
    (update,) = updates
    assert update["style_traces"] == [1] and update["style_data"].keys() == {"y"}


def test_plotly_is_sent_once_for_all_figures(figure):
    other = LiveFigure(go.Figure())
    assert other._library is figure._library is Library.open_one()
    assert len(figure._library.source) > 1e6
    assert sum(len(str(value)) for value in figure.get_state().values()) < 1e5


def test_figures_made_after_all_widgets_were_closed_have_plotly(figure):
    before = figure._library
    Widget.close_all()
    after = LiveFigure(go.Figure())._library
    assert after is not before and after.comm is not None
