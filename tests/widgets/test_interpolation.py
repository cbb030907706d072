"""The interpolation explorer, driven as a reader drives it: the slider, the two ways of mixing, the choice of a method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from coto_lab import Evaluator, Run, Task, fit, interpolate
from coto_lab.probes.interpolation import line, mixtures
from coto_lab.widgets import InterpolationExplorer
from coto_lab.widgets.view import plain


@pytest.fixture
def explorer(tiny_task: Task, runs: tuple[Run, Run]) -> InterpolationExplorer:
    """LoRA goes from run 0 to run 1, CoTo the other way."""
    return InterpolationExplorer(tiny_task, {"LoRA": runs[1], "CoTo": runs[0]}, {"LoRA": runs[0], "CoTo": runs[1]})


@pytest.fixture
def calls(explorer: InterpolationExplorer, count_variants: Callable[[], list[int]]) -> list[int]:
    """How many variants were scored, call by call, since the explorer was made."""
    return count_variants()


def agrees(explorer: InterpolationExplorer, task: Task, pair: tuple[Run, Run], name: str, how: str, alpha: float) -> None:
    """What is shown is what `interpolate` finds, and the strip is what an evaluator reads at both places."""
    curve = interpolate(task, *pair, 21, how)
    traces = {trace.name: trace for trace in reversed(explorer.figure.data)}  # of two of a name, the first: accuracy
    np.testing.assert_allclose(traces[name].y, 100 * curve.accuracy)
    at = round(20 * alpha)
    assert traces[f"{name}, here"].x.tolist() == [curve.alphas[at]]
    assert traces[f"{name}, here"].y.tolist() == [pytest.approx(100 * curve.accuracy[at].item())]
    assert f"{name} <b>{curve.accuracy[at].item():.1%}</b> (loss {curve.loss[at].item():.2f})" in explorer.text.value
    weights = line(torch.tensor([0, curve.alphas[at]], dtype=torch.float64))
    scores = Evaluator(task)(mixtures(pair, weights, how), outputs=True)
    before, now = scores.logits.argmax(-1)
    if explorer.method.value == name:
        words = [f"{'abc'[t]}: {'abc'[b]}→{'abc'[n]}" for t, b, n in zip(scores.labels, before, now, strict=True) if b != n]
        assert list(traces["what was read"].text) == words[:20]
        spoiled = int(((before == scores.labels) & (now != scores.labels)).sum())
        assert f"{name} classifies {len(words)} of them differently than its first run alone: {spoiled} correctly" in plain(
            explorer.text.value
        )


def test_before_a_run_it_says_what_to_run_first(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    explorer = InterpolationExplorer(tiny_task, {"LoRA": runs[1], "CoTo": runs[0]})
    controls = [explorer.alpha, explorer.how, explorer.method]
    assert "First run the cell that trains" in plain(explorer.text.value)
    assert all(control.disabled for control in controls) and explorer.scores is None
    assert all(len(trace.x) == 0 for trace in explorer.figure.data if trace.type == "scatter")
    explorer.take({"CoTo": runs[1]})
    assert not any(control.disabled for control in controls)
    assert explorer.method.options == ("CoTo",)
    agrees(explorer, tiny_task, (runs[1], runs[0]), "CoTo", "fuse", 0.5)


def test_moving_the_slider_only_reads(
    explorer: InterpolationExplorer, tiny_task: Task, runs: tuple[Run, Run], calls: list[int]
) -> None:
    for alpha in (0.0, 0.35, 0.6000000000000001, 1.0):  # a browser's steps are not exact
        explorer.alpha.value = alpha
        assert f"At α = {alpha:.2g}, fusion (average the factors A and B): accuracy on" in plain(explorer.text.value)
        assert [(shape.x0, shape.x1) for shape in explorer.figure.layout.shapes] == [(pytest.approx(alpha),) * 2] * 2
        if alpha == 0:
            assert "LoRA classifies 0 of them differently" in explorer.text.value
    assert calls == []
    for name, pair in (("LoRA", runs), ("CoTo", runs[::-1])):
        explorer.method.value = name
        assert calls == []
        agrees(explorer, tiny_task, pair, name, "fuse", 1.0)
        calls.clear()


@pytest.mark.parametrize("how", ["fuse", "ensemble"])
def test_a_typed_mixture_between_those_of_the_slider_is_scored_as_typed(
    explorer: InterpolationExplorer, tiny_task: Task, runs: tuple[Run, Run], calls: list[int], how: str
) -> None:
    explorer.how.value = how
    calls.clear()
    explorer.alpha.field.value = "0.333"
    assert calls == [1, 1], "one mixture of each method"
    curve = interpolate(tiny_task, *runs, [0, 0.333, 1], how)
    here = next(trace for trace in explorer.figure.data if trace.name == "LoRA, here")
    line = next(trace for trace in explorer.figure.data if trace.name == "LoRA")
    assert here.x.tolist() == [0.333] and here.y.tolist() == [pytest.approx(100 * curve.accuracy[1].item())]
    assert len(line.x) == 22 and list(line.x) == sorted(line.x) and line.y[line.x.tolist().index(0.333)] == here.y[0]
    assert "At α = 0.333, " in plain(explorer.text.value)
    assert f"LoRA <b>{curve.accuracy[1].item():.1%}</b> (loss {curve.loss[1].item():.2f})" in explorer.text.value
    explorer.alpha.slider.value = 0.4
    calls.clear()
    agrees(explorer, tiny_task, runs, "LoRA", how, 0.4)


def test_ensembles_are_scored_when_they_are_first_asked_for(
    explorer: InterpolationExplorer, tiny_task: Task, runs: tuple[Run, Run], calls: list[int]
) -> None:
    seen = []
    explorer.progress.observe(
        lambda change: seen.append((change["new"], explorer.progress.layout.display, explorer.alpha.disabled)), "value"
    )
    explorer.how.value = "ensemble"
    assert sum(calls) == 42
    assert seen == [(value, "", True) for value in range(1, 7)], "a bar moves, and no control is dead without saying so"
    assert explorer.progress.layout.display == "none" and not explorer.alpha.disabled
    calls.clear()
    for how in ("fuse", "ensemble"):
        explorer.how.value = how
        assert calls == []
        agrees(explorer, tiny_task, runs, "LoRA", how, 0.5)
        calls.clear()


def test_new_runs_replace_all_that_was_scored(
    explorer: InterpolationExplorer, tiny_task: Task, runs: tuple[Run, Run], calls: list[int]
) -> None:
    explorer.how.value = "ensemble"
    explorer.method.value = "CoTo"
    third = fit(tiny_task, replace(runs[0].recipe, seed=2), progress=False)
    explorer.take({"LoRA": third, "CoTo": runs[1]})
    assert (explorer.how.value, explorer.method.value) == ("ensemble", "CoTo")
    agrees(explorer, tiny_task, (third, runs[1]), "LoRA", "ensemble", 0.5)
    calls.clear()
    explorer.how.value = "fuse"
    assert sum(calls) == 42, "the curve of the runs before is not shown again"
    agrees(explorer, tiny_task, (third, runs[1]), "LoRA", "fuse", 0.5)


def test_a_way_that_cannot_be_scored_is_not_chosen(explorer: InterpolationExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
    before = explorer.text.value
    score = Evaluator.__call__

    def interrupted(self, variants, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(Evaluator, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        explorer.how.value = "ensemble"
    assert explorer.how.value == "fuse" and explorer.text.value == before and not explorer.how.disabled
    assert explorer.progress.layout.display == "none"
    monkeypatch.setattr(Evaluator, "__call__", score)
    explorer.how.value = "ensemble"
    assert "ensemble (average the updates ΔW)" in explorer.text.value


def test_what_does_not_fit_is_refused_and_the_view_is_as_before(
    explorer: InterpolationExplorer, tiny_task: Task, runs: tuple[Run, Run]
) -> None:
    before = explorer.text.value
    stranger = replace(runs[0], base="another base")
    wide = fit(tiny_task, replace(runs[0].recipe, r=3), progress=False)
    with pytest.raises(ValueError, match=r"runs\['LoRA'\] was trained on another base"):
        explorer.take({"LoRA": stranger})
    with pytest.raises(ValueError, match="r is 3 in adapter 0 and 2 in adapter 1"):
        explorer.take({"LoRA": wide, "CoTo": runs[1]})
    with pytest.raises(ValueError, match="of methods that have a partner: \\['LoRA', 'CoTo'\\]"):
        explorer.take({"dropout": runs[0]})
    with pytest.raises(ValueError, match="runs is empty"):
        explorer.take({})
    with pytest.raises(TypeError, match="runs is a list: give a dict"):
        explorer.take([runs[0]])
    with pytest.raises(ValueError, match=r"partners\['CoTo'\] was trained on another base"):
        InterpolationExplorer(tiny_task, {"CoTo": stranger})
    with pytest.raises(ValueError, match="partners is empty"):
        InterpolationExplorer(tiny_task, {})
    with pytest.raises(ValueError, match="images=0"):
        InterpolationExplorer(tiny_task, {"LoRA": runs[1]}, images=0)
    assert explorer.text.value == before
    explorer.alpha.value = 0.1
    agrees(explorer, tiny_task, runs, "LoRA", "fuse", 0.1)


def test_the_part_of_the_test_set_is_evenly_spaced_and_told(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    explorer = InterpolationExplorer(tiny_task, {"LoRA": runs[1]}, {"LoRA": runs[0]}, images=20)
    assert torch.equal(explorer.task.batch("test", range(15))["labels"], tiny_task.test_batch["labels"][::3])
    assert "on 15 test images (one in 3 of the test set)" in explorer.text.value
    agrees(explorer, explorer.task, runs, "LoRA", "fuse", 0.5)
