"""The explorer that turns adapters up and down, driven as a reader drives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from coto_lab import Adapter, Evaluator, Run, Task, Variant
from coto_lab.widgets import ScaleExplorer
from coto_lab.widgets.view import plain


@pytest.fixture
def module(runs: tuple[Run, Run]) -> str:
    return list(runs[0].adapter.factors())[1]


@pytest.fixture
def explorer(tiny_task: Task, runs: tuple[Run, Run], module: str) -> ScaleExplorer:
    return ScaleExplorer(tiny_task, {"LoRA": runs[0], "CoTo": runs[1]}, module)


def accuracy(task: Task, run: Run, factor: float) -> float:
    """With B times the factor: another way to the same model."""
    tensors = {key: factor * tensor if "lora_B" in key else tensor for key, tensor in run.adapter.tensors.items()}
    return Evaluator(task)([Variant(Adapter(run.adapter.config, tensors))]).accuracy.item()


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.0, 2.0, 0.333])
def test_what_is_shown_is_the_model_with_b_times_the_factor(
    explorer: ScaleExplorer, tiny_task: Task, runs: tuple[Run, Run], module: str, factor: float
) -> None:
    explorer.factor.value = factor
    expected = [accuracy(tiny_task, run, factor) for run in runs]
    marks = [trace for trace in explorer.figure.data if trace.name.endswith("here")]
    np.testing.assert_allclose([mark.y[0] for mark in marks], [100 * share for share in expected])
    assert [mark.x[0] for mark in marks] == [factor, factor]
    told = f"{factor:g} · ΔW classifies correctly: LoRA {expected[0]:.1%}, CoTo {expected[1]:.1%} of 45 test images"
    assert plain(explorer.text.value).startswith(told)
    a, b = runs[0].adapter.factors()[module]
    (heat,) = (trace for trace in explorer.figure.data if trace.type == "heatmap" and trace.name == "LoRA")
    np.testing.assert_allclose(heat.z, factor * (b @ a), rtol=1e-5)


def test_it_begins_as_trained_and_at_0_is_the_base(explorer: ScaleExplorer, tiny_task: Task, runs: tuple[Run, Run]) -> None:
    assert explorer.factor.value == 1
    curve = explorer.figure.data[0]
    labels = tiny_task.test_batch["labels"]
    with torch.no_grad():
        base = tiny_task.predict(tiny_task.load_base().eval(), tiny_task.test_batch).argmax(-1)
    assert curve.y[0] == pytest.approx(100 * (base == labels).double().mean().item())
    assert curve.y[8] == pytest.approx(100 * accuracy(tiny_task, runs[0], 1.0))


def test_the_slider_only_reads(explorer: ScaleExplorer, count_variants: Callable[[], list[int]]) -> None:
    counts = count_variants()
    for place in (0, 0.125, 1.5, 2):
        explorer.factor.slider.value = place
        assert explorer.factor.value == place
    assert counts == []
    explorer.factor.field.value = "0.6"
    assert counts == [1, 1], "a number in between is scored when it is typed, once for each run"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: {}, "runs is empty"),
        (lambda run: {"LoRA": replace(run, task="other")}, r"runs\['LoRA'\] was trained on task 'other'"),
    ],
)
def test_bad_runs_are_refused(
    tiny_task: Task, runs: tuple[Run, Run], module: str, change: Callable[[Run], dict[str, Run]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ScaleExplorer(tiny_task, change(runs[0]), module)


def test_an_unknown_module_is_refused_and_known_ones_named(tiny_task: Task, runs: tuple[Run, Run], module: str) -> None:
    with pytest.raises(ValueError, match=r"module='head': no adapter there; there is base_model\.model\.\S+q_proj"):
        ScaleExplorer(tiny_task, {"LoRA": runs[0]}, "head")
