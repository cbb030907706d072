from __future__ import annotations

from dataclasses import replace

from coto_lab import Linear, Recipe, Task
from coto_lab.figures.growth import growth_figure
from coto_lab.probes.growth import growth


def test_three_curves_of_each_method_under_one_another(tiny_task: Task) -> None:
    recipe = Recipe(r=2, steps=6, batch_size=8)
    found = {
        name: growth(tiny_task, replace(recipe, schedule=s), 4) for name, s in (("LoRA", recipe.schedule), ("CoTo", Linear()))
    }
    figure = growth_figure(found)
    assert [trace.name for trace in figure.data] == ["LoRA"] * 3 + ["CoTo"] * 3
    assert [trace.yaxis for trace in figure.data] == ["y", "y2", "y3"] * 2
    assert list(figure.data[0].y) == found["LoRA"].mean_length.tolist()
    assert list(figure.data[4].y) == found["CoTo"].grad_norm.tolist()
    assert list(figure.data[2].y) == found["LoRA"].history.loss.tolist()
    assert figure.layout.yaxis2.type == "log"
    assert sum(trace.showlegend for trace in figure.data) == 2
