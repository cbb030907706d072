"""A warning names the line of the user, through however many functions of the package it came."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import replace

import pytest

from coto_lab import Classification, Recipe, Run, fit_many, interpolate, prune, shapley, stability
from coto_lab.ground.caller import warn_user
from coto_lab.probes.simplex import simplex
from coto_lab.probes.sparsity import sparsity_curve
from coto_lab.probes.theory import barrier_bound, jensen
from coto_lab.scoring.sources import adapter_of
from coto_lab.widgets import InterpolationExplorer, ScaleExplorer, Switchboard


def test_a_warning_of_a_function_outside_the_package_names_that_function() -> None:
    with pytest.warns(UserWarning, match="look out") as warned:
        warn_user("look out")
    assert (warned[0].filename, warned[0].lineno) == (__file__, inspect.currentframe().f_lineno - 1)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "use",
    [
        lambda task, a, b: adapter_of(task, a, "run"),
        lambda task, a, b: inspect.unwrap(prune)(task, a),  # the tests' own check of shapes lies around it
        lambda task, a, b: interpolate(task, a, b, alphas=2),
        lambda task, a, b: shapley(task, a),
        lambda task, a, b: stability(task, a, samples=1),
        lambda task, a, b: sparsity_curve(task, a, [0.0]),
        lambda task, a, b: simplex(task, [a, b, a], steps=1),
        lambda task, a, b: jensen(task, a, ps=2),
        lambda task, a, b: barrier_bound(task, [a, b], alphas=3, samples=2),
        lambda task, a, b: Switchboard(task, {"LoRA": a}, images=3),
        lambda task, a, b: ScaleExplorer(task, {"LoRA": a}, next(iter(a.factors())), images=3),
        lambda task, a, b: InterpolationExplorer(task, {"LoRA": b}, {"LoRA": a}, images=3),
    ],
    ids=[
        "adapter_of", "prune", "interpolate", "shapley", "stability", "sparsity", "simplex", "jensen", "bound", "Switchboard",
        "ScaleExplorer", "InterpolationExplorer",
    ],
)  # fmt: skip
def test_an_unknown_base_is_told_at_the_line_of_the_user(use: object, tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    strangers = [replace(run.adapter, base=None) for run in runs]
    with pytest.warns(UserWarning, match="does not say by a hash") as warned:
        use(tiny_task, *strangers)  # type: ignore[operator]
    places = {(warning.filename, warning.lineno) for warning in warned if "by a hash" in str(warning.message)}
    assert places == {(__file__, inspect.getsourcelines(use)[1])}  # type: ignore[arg-type]


def test_so_is_a_run_that_diverged(tiny_task: Classification) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fit_many(tiny_task, [Recipe(r=2, steps=8, batch_size=8, lr=1e30)], n_jobs=1, progress=False)
        line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    (found,) = [warning for warning in warned if "not finite" in str(warning.message)]
    assert (found.filename, found.lineno) == (__file__, line)
