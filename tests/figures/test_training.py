from __future__ import annotations

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from torch import Tensor

from coto_lab import Run
from coto_lab.figures import STYLES, training_figure
from coto_lab.figures.style import smooth, style
from coto_lab.figures.theme import CLOSED
from coto_lab.figures.training import ACCURACY, BALANCE, GATES, LOSS, OPEN, P
from coto_lab.probes.gradients import gradient_share
from coto_lab.training.history import History

STEPS = 16
READ = {"LoRA": {0: 0.25, 8: 0.5, 16: 1.0}, "CoTo": {0: 0.25, 8: 0.375}}


@pytest.fixture
def histories(runs: tuple[Run, Run]) -> dict[str, History]:
    return {"LoRA": runs[0].history, "CoTo": runs[1].history, "mine": runs[0].history}


def first(history: History, steps: int) -> History:
    columns = {name: getattr(history, name)[:steps] for name in ("loss", "lr", "p", "seconds", "mask", "module_grad_norm")}
    return replace(history, **columns)


def repeated(history: History, times: int) -> History:
    columns = {
        name: column.repeat(times, *[1] * (column.dim() - 1))
        for name, column in vars(history).items()
        if isinstance(column, Tensor) and name != "gate_of_module"
    }
    return replace(history, **columns)


def trace(figure: go.Figure, name: str, kind: str) -> go.Scatter | go.Heatmap:
    (found,) = (trace for trace in figure.data if (trace.name, trace.meta) == (name, kind))
    return found


def test_it_holds_the_records(histories: dict[str, History]) -> None:
    figure = training_figure(histories, STEPS, READ)
    for name, history in histories.items():
        curves = {LOSS: smooth(history.loss), P: history.p, OPEN: smooth(history.mask.double().mean(1))}
        for kind, values in curves.items():
            assert list(trace(figure, name, kind).x) == list(range(STEPS))
            np.testing.assert_allclose(trace(figure, name, kind).y, values.numpy(), rtol=1e-6)
        balance = trace(figure, name, BALANCE)
        np.testing.assert_allclose(balance.z, gradient_share(history.grad_norm, STEPS).numpy())
        assert list(balance.y) == ["0", "1", "2", "3"]
    assert dict(zip(*(trace(figure, "LoRA", ACCURACY)[axis] for axis in "xy"), strict=True)) == {0: 25, 8: 50, 16: 100}
    assert list(trace(figure, "CoTo", ACCURACY).y) == [25, 37.5] and len(trace(figure, "mine", ACCURACY).y) == 0
    assert len(figure.data) == 5 * 3 + 1


def test_the_gates_have_a_row_for_each_method_in_its_colour(histories: dict[str, History]) -> None:
    now = {"LoRA": first(histories["LoRA"], 16), "CoTo": first(histories["CoTo"], 1), "mine": first(histories["mine"], 0)}
    figure = training_figure(now, STEPS)
    gates = trace(figure, GATES, GATES)
    assert list(gates.y) == ["LoRA", "CoTo"] and list(gates.x) == ["0", "1", "2", "3"]  # who has not begun has no gates
    colours = {round(place, 3): colour for place, colour in gates.colorscale}
    for row, name in enumerate(gates.y):
        mask = now[name].mask[-1].tolist()
        assert [colours[round(float(value), 3)] for value in gates.z[row]] == [
            STYLES[name]["color"] if is_open else CLOSED for is_open in mask
        ]
        assert [text == "●" for text in gates.text[row]] == mask  # not by colour alone
    assert colours[1] == style("mine", 2)["color"]


def test_it_is_updated_in_place(histories: dict[str, History]) -> None:
    started = {name: first(history, 0) for name, history in histories.items()}
    figure = training_figure(started, STEPS)
    traces, before = figure.data, figure.to_dict()["layout"]
    for steps in (0, 1, 9, 16, 3, 16):  # another training starts afresh
        now = {name: first(history, steps) for name, history in histories.items()}
        assert training_figure(now, STEPS, READ, figure) is figure
        assert all(was is trace for was, trace in zip(traces, figure.data, strict=True))
        assert [len(trace(figure, name, LOSS).x) for name in histories] == [steps] * 3
    assert figure.to_dict()["layout"] == before == training_figure(histories, STEPS).to_dict()["layout"]
    for shown, fresh in zip(figure.data, training_figure(histories, STEPS, READ).data, strict=True):
        np.testing.assert_equal(shown.to_plotly_json(), fresh.to_plotly_json())


def test_axes_have_titles_and_stay(histories: dict[str, History]) -> None:
    layout = training_figure(histories, STEPS).layout
    axes = [layout[key] for key in layout if key.startswith("xaxis")]
    assert [axis.title.text for axis in axes].count("optimiser step") == 6 and all(axis.title.text for axis in axes)
    assert {axis.range for axis in axes if axis.type != "category"} == {(0, STEPS)}
    assert all(layout[key].range for key in ("yaxis", "yaxis2", "yaxis3")) and layout.height


def test_a_long_training_has_few_points_and_its_last_step(runs: tuple[Run, Run]) -> None:
    long = repeated(runs[0].history, 100)
    line = trace(training_figure({"LoRA": long}, 1600), "LoRA", LOSS)
    assert len(line.x) == len(line.y) == 400 and (line.x[0], line.x[-1]) == (0, 1599)
    assert line.y[-1] == pytest.approx(smooth(long.loss)[1599].item())
    assert line.y.dtype == np.float32
