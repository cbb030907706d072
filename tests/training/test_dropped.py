from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest

from coto_lab import Constant, Linear, Recipe, Schedule, Task, Training, fit, fit_many
from coto_lab.adapters.methods.registry import known_methods
from coto_lab.training.dropped import warn_of_dropped_blocks, without_word_of_start

RECIPE = Recipe(method="pissa", r=2, steps=3, batch_size=8, lr=1e-4)
COTO = replace(RECIPE, schedule=Linear())


def said_by(use: Callable[[], object]) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use()
    return caught


@pytest.mark.parametrize(
    "use",
    [
        lambda task: fit(task, COTO, progress=False),
        lambda task: Training(task, COTO),
        lambda task: fit_many(task, [COTO, replace(COTO, seed=1), RECIPE], progress=False),
        lambda task: fit_many(task, [RECIPE, COTO], max_rows=1, n_jobs=1, progress=False),
        lambda task: fit_many(task, [COTO, replace(COTO, r=3), replace(COTO, dropout=0.1)], n_jobs=1, progress=False),
    ],
    ids=["fit", "Training", "rows", "one by one", "in processes"],
)
def test_it_is_said_once_and_names_the_line_of_the_caller(tiny_task: Task, use: Callable[[Task], object]) -> None:
    (warning,) = said_by(lambda: use(tiny_task))
    assert str(warning.message) == (
        "method 'pissa' moves a part of the base's weights into the adapter at its start: in this training a dropped block "
        "does not compute the pre-trained function, as the published CoTo assumes. LoRA and rsLoRA leave the base as it is."
    )
    assert warning.category is UserWarning and warning.filename == __file__


def test_two_methods_are_named_together() -> None:
    (warning,) = said_by(lambda: warn_of_dropped_blocks([COTO, RECIPE, replace(COTO, method="olora"), replace(COTO, r=3)]))
    assert str(warning.message).startswith("method 'olora' or 'pissa' moves a part of the base's weights")


@pytest.mark.parametrize("schedule", [Constant(), Constant(1.0), Linear(start=1.0)], ids=str)
def test_a_training_that_drops_nothing_is_silent(tiny_task: Task, schedule: Schedule) -> None:
    recipes = [replace(RECIPE, method=name, schedule=schedule, seed=seed) for name in ("pissa", "olora") for seed in (0, 1)]
    assert said_by(lambda: fit(tiny_task, recipes[0], progress=False)) == []
    assert said_by(lambda: fit_many(tiny_task, recipes, progress=False)) == []


def test_methods_that_leave_the_base_alone_are_silent() -> None:
    for name, kind in known_methods().items():
        assert kind.rewrites_base == (name in ("pissa", "olora"))
        assert bool(said_by(lambda name=name: warn_of_dropped_blocks([replace(COTO, method=name)]))) == kind.rewrites_base


def test_other_warnings_are_not_silenced() -> None:
    def speak() -> None:
        with without_word_of_start():
            warn_of_dropped_blocks([COTO])
            warnings.warn("adapter layers outside of all blocks", stacklevel=2)

    assert [str(warning.message) for warning in said_by(speak)] == ["adapter layers outside of all blocks"]
