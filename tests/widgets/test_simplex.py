"""The simplex explorer, driven as a reader drives it. What it shares with the interpolation explorer is tested there."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from coto_lab import Evaluator, Run, Task, fit
from coto_lab.probes.simplex import simplex
from coto_lab.widgets import SimplexExplorer
from coto_lab.widgets.view import plain

HOW = {"fuse": "fusion (average", "ensemble": "ensemble (average"}


@pytest.fixture(scope="module")
def three(tiny_task: Task, runs: tuple[Run, Run]) -> tuple[Run, Run, Run]:
    return *runs, fit(tiny_task, replace(runs[0].recipe, seed=2), progress=False)


@pytest.fixture
def explorer(tiny_task: Task, three: tuple[Run, Run, Run]) -> SimplexExplorer:
    return SimplexExplorer(tiny_task, {"CoTo": three[1:]}, {"CoTo": three[0]})


def agrees(explorer: SimplexExplorer, task: Task, three: tuple[Run, Run, Run], how: str) -> None:
    """What is shown is what `simplex` finds, marked where the sliders stand."""
    record = simplex(task, three, 6, how)
    dots, labels, mark = explorer.figure.data[2:5]
    np.testing.assert_allclose(dots.marker.color, 100 * record.accuracy)
    assert labels.text[2].startswith("seed 2<br>")
    sixths = [slider.value for slider in explorer.parts]
    at = (6 * record.weights).round().int().tolist().index(sixths)
    assert (mark.x[0], mark.y[0]) == (dots.x[at], dots.y[at])
    told = f"CoTo <b>{record.accuracy[at].item():.1%}</b> (loss {record.loss[at].item():.2f})"
    assert "At {} : {} : {} sixths of the three runs, ".format(*sixths) + HOW[how] in plain(explorer.text.value)
    assert told in explorer.text.value


def test_before_a_run_it_says_what_to_run_first(tiny_task: Task, three: tuple[Run, Run, Run]) -> None:
    explorer = SimplexExplorer(tiny_task, {"CoTo": three[1:]})
    assert "First run the cell that trains" in plain(explorer.text.value)
    assert all(slider.disabled for slider in explorer.parts)
    explorer.take({"CoTo": three[0]})
    assert [slider.disabled for slider in explorer.parts] == [False, False, True], "the third one follows"
    agrees(explorer, tiny_task, three, "fuse")


def test_every_move_ends_on_a_mixture(explorer: SimplexExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evaluator, "__call__", None)  # nothing is scored any more
    for first, second in itertools.product((0, 2, 5, 6), (0, 3, 6)):
        explorer.parts[0].value = first
        explorer.parts[1].value = second
        sixths = [slider.value for slider in explorer.parts]
        assert sum(sixths) == 6 and min(sixths) >= 0
        assert sixths[1] == second, "the other one gives way"
        assert sixths[0] == min(first, 6 - second)
        assert "At {} : {} : {} sixths".format(*sixths) in plain(explorer.text.value)


def test_a_line_says_so_when_the_other_slider_gives_way(explorer: SimplexExplorer) -> None:
    explorer.parts[0].value = 4
    assert explorer.message.value == ""
    explorer.parts[0].value = 6
    assert plain(explorer.message.value) == "The three shares make 6 sixths, so the second run now gets 0."
    explorer.parts[0].value = 5
    assert explorer.message.value == ""


def test_mixtures_are_those_of_the_sliders(explorer: SimplexExplorer, tiny_task: Task, three: tuple[Run, Run, Run]) -> None:
    for first, second in ((6, 0), (0, 6), (0, 0), (1, 3), (3, 2)):
        explorer.parts[1].value = 0
        explorer.parts[0].value = first
        explorer.parts[1].value = second
        agrees(explorer, tiny_task, three, "fuse")
    assert "CoTo classifies" in explorer.text.value
    explorer.how.value = "ensemble"
    agrees(explorer, tiny_task, three, "ensemble")


def test_the_first_run_alone_flips_nothing(explorer: SimplexExplorer) -> None:
    explorer.parts[0].value = 6
    assert "CoTo classifies 0 of them differently" in explorer.text.value


def test_other_than_three_runs_are_refused(tiny_task: Task, three: tuple[Run, Run, Run]) -> None:
    with pytest.raises(ValueError, match=r"partners\['CoTo'\] has 1 runs: a triangle needs 2"):
        SimplexExplorer(tiny_task, {"CoTo": three[1:2]})
    with pytest.raises(ValueError, match=r"partners\['CoTo'\] was trained on another base"):
        SimplexExplorer(tiny_task, {"CoTo": [three[1], replace(three[2], base="another")]})
