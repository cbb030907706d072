from __future__ import annotations

import torch

from coto_lab.figures import STYLES, spread_figure

GROUPS = {
    "one run": {"LoRA": torch.tensor([90.0, 92.0]), "CoTo": torch.tensor([93.0, 95.0])},
    "averaged": {"LoRA": torch.tensor([80.0]), "CoTo": torch.tensor([91.0])},
}


def test_every_value_and_the_means_are_drawn_within_their_group() -> None:
    figure = spread_figure(GROUPS, "accuracy, %")
    for name in ("LoRA", "CoTo"):
        marks = [trace for trace in figure.data if trace.name == name]
        means = [trace for trace in figure.data if trace.name == f"{name}, mean"]
        for centre, (mark, mean, values) in enumerate(zip(marks, means, GROUPS.values(), strict=True)):
            assert list(mark.y) == values[name].tolist() and set(mean.y) == {values[name].mean().item()}
            assert all(abs(x - centre) < 0.5 for x in (*mark.x, *mean.x))
            assert mark.marker.color == mean.line.color == STYLES[name]["color"]
    assert list(figure.layout.xaxis.ticktext) == ["one run", "averaged"]
    assert figure.layout.yaxis.title.text == "accuracy, %"


def test_methods_stand_side_by_side() -> None:
    marks = [trace for trace in spread_figure(GROUPS, "accuracy, %").data if trace.mode == "markers"]
    lora, coto = ([x for trace in marks[start : start + 1] for x in trace.x] for start in (0, 2))
    assert max(lora) < min(coto)


def test_a_guess_stands_where_its_mean_will_be() -> None:
    figure = spread_figure(GROUPS, "accuracy, %", {"CoTo": 70.0}, "averaged")
    (guess,) = (trace for trace in figure.data if "guess" in trace.name)
    (mean,) = (trace for trace in figure.data if trace.name == "CoTo, mean" and min(trace.x) > 0.5)
    assert list(guess.y) == [70.0] and min(mean.x) < guess.x[0] < max(mean.x)
    assert not [trace for trace in spread_figure(GROUPS, "accuracy, %").data if "guess" in trace.name]
