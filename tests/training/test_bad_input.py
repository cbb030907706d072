"""What a user may give by mistake is refused by name, before anything is trained or written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from accelerate.utils import DistributedType
from tiny_tasks import CopyTask
from torch import Tensor

from coto_lab import Linear, Recipe, Run, Task, Training, fit, fit_many
from coto_lab.adapters.methods.lora import LoRA
from coto_lab.probes.growth import growth
from coto_lab.training import many, rows

RECIPE = Recipe(r=2, steps=3, batch_size=8)


@pytest.mark.parametrize("recipe", [None, "lora", {"r": 2}, Linear(), Recipe])
@pytest.mark.parametrize(
    "use",
    [
        lambda task, recipe, path: fit(task, recipe, checkpoint=path, progress=False),
        lambda task, recipe, path: Training(task, recipe),
        lambda task, recipe, path: growth(task, recipe, 2),
    ],
    ids=["fit", "Training", "growth"],
)
def test_a_recipe_is_a_recipe(tiny_task: Task, tmp_path: Path, use: Callable, recipe: object) -> None:
    with pytest.raises(TypeError, match=r"recipe=.*: give a Recipe, such as Recipe\(\) for plain LoRA"):
        use(tiny_task, recipe, tmp_path / "state")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("recipes", "said"),
    [
        (RECIPE, "recipes is a Recipe"),
        (None, "recipes is a NoneType"),
        ("lora", "recipes is a str"),
        ({"a": RECIPE}, "recipes is a dict"),
        ([RECIPE, "lora"], r"recipes\[1\] is a str"),
        ([RECIPE, None], r"recipes\[1\] is a NoneType"),
    ],
)
def test_recipes_are_a_list_of_recipes(tiny_task: Task, recipes: object, said: str) -> None:
    with pytest.raises(TypeError, match=rf"{said}: give a list of Recipes, such as \[Recipe\(\), Recipe\(seed=1\)\]"):
        fit_many(tiny_task, recipes, progress=False)  # type: ignore[arg-type]


def test_recipes_may_come_one_by_one(tiny_task: Task) -> None:
    runs = fit_many(tiny_task, (replace(RECIPE, seed=seed) for seed in (3, 4)), progress=False)  # type: ignore[arg-type]
    assert [run.recipe.seed for run in runs] == [3, 4]


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"on_step": 3}, TypeError, "on_step=3: give a function that takes a Step, or None"),
        ({"checkpoint": 3}, TypeError, "checkpoint=3: give the path of a file, or None"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every=0: must be a whole number, at least 1"),
        ({"checkpoint_every": 2.5}, ValueError, r"checkpoint_every=2\.5: must be a whole number"),
        ({"checkpoint_every": "100"}, ValueError, "checkpoint_every='100': must be a whole number"),
    ],
)
def test_settings_of_fit_are_looked_at_before_it_trains(
    tiny_task: Task, monkeypatch: pytest.MonkeyPatch, settings: dict, error: type[Exception], said: str
) -> None:
    monkeypatch.setattr(Training, "step", lambda self: pytest.fail("it trained"))
    with pytest.raises(error, match=said):
        fit(tiny_task, RECIPE, progress=False, **settings)


# --- A method whose option is a list -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed(LoRA):
    """LoRA with an option that is a list, and one that is a dict."""

    name: ClassVar[str] = "listed"
    layers: list[int] = field(default_factory=lambda: [1, 2])
    rates: dict[str, float] = field(default_factory=dict)

    def recognises(self, config: dict[str, Any]) -> bool:
        return False


def test_options_of_a_method_may_be_lists(tiny_task: Task, tmp_path: Path) -> None:
    recipes = [
        replace(RECIPE, method=Listed()),
        replace(RECIPE, method=Listed([1, 2], {}), seed=1),
        replace(RECIPE, method=Listed([3])),
        replace(RECIPE, method=Listed(rates={"A": 0.5})),
        replace(RECIPE, method=Listed([3]), seed=1),
        RECIPE,
    ]
    assert many._groups(recipes, 10) == [[0, 1], [2, 4], [3], [5]]
    runs = fit_many(tiny_task, recipes, n_jobs=1, progress=False)
    assert [run.recipe for run in runs] == recipes
    for run in runs[:2]:
        alone = fit(tiny_task, run.recipe, checkpoint=tmp_path / str(run.recipe.seed), progress=False)
        for key, tensor in alone.adapter.tensors.items():
            torch.testing.assert_close(run.adapter.tensors[key], tensor, rtol=0, atol=1e-4)
    assert (runs[0].save(tmp_path / "run") / "run.json").exists() and Run.is_saved_in(tmp_path / "run")


def test_a_checkpoint_that_cannot_be_written_is_told_before_training(tiny_task: Task, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    steps = []
    with pytest.raises(OSError, match=r"could not write .*file/state"):
        fit(tiny_task, RECIPE, checkpoint=tmp_path / "file" / "state", on_step=steps.append, progress=False)
    assert steps == []


class Hole(CopyTask):
    """Its loss cannot be computed for the examples of a whole batch."""

    def loss(self, prediction: Tensor, batch: dict[str, Tensor]) -> Tensor:
        losses = super().loss(prediction, batch)
        return losses / 0 if len(losses) > 2 else losses


def test_a_loss_that_is_not_finite_from_the_start_is_not_put_down_to_the_learning_rate() -> None:
    with pytest.raises(FloatingPointError, match="the loss of step 0 is inf; nothing is learned yet, so look at"):
        fit(Hole(), RECIPE, progress=False)


@dataclass(frozen=True)
class Inheriting(LoRA):
    """LoRA but for one field of PEFT's configuration: with another scale, or with an update that rows cannot train."""

    name: ClassVar[str] = "inheriting"
    more: str = "use_rslora"

    def peft_config(self, **settings: Any) -> Any:
        config = super().peft_config(**settings)
        setattr(config, self.more, True)
        return config


@pytest.mark.parametrize("more", ["use_rslora", "use_dora"])
def test_a_method_that_inherits_from_lora_trains_as_in_fit(tiny_task: Task, more: str) -> None:
    method = Inheriting(more)
    recipes = [Recipe(method=method, r=4, steps=6, batch_size=8, seed=seed) for seed in range(2)]
    for run, recipe in zip(fit_many(tiny_task, recipes, n_jobs=1, progress=False), recipes, strict=True):
        expected = fit(tiny_task, recipe, progress=False)
        for name, tensor in expected.adapter.tensors.items():
            torch.testing.assert_close(run.adapter.tensors[name], tensor, rtol=1e-4, atol=1e-5)


def test_rows_that_have_all_diverged_are_not_trained_on(tiny_task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    step = rows.take_step
    monkeypatch.setattr(rows, "take_step", lambda *given: taken.append(given[3]) or step(*given))
    recipes = [Recipe(lr=1e38, steps=200, batch_size=8, seed=seed) for seed in range(2)]
    with pytest.warns(UserWarning, match="is not finite at step"):
        runs = fit_many(tiny_task, recipes, progress=False)
    assert max(taken) == max(len(run.history) for run in runs) < 20


@pytest.mark.parametrize("name", ["FSDP", "DEEPSPEED"])
def test_an_accelerator_that_shards_is_refused(tiny_task: Task, name: str) -> None:
    accelerator = SimpleNamespace(mixed_precision="no", distributed_type=DistributedType[name], num_processes=2)
    with pytest.raises(
        ValueError, match=rf"distributed_type=.*{name}: this loop trains in one process.*Trainer with CoToCallback"
    ):
        Training(tiny_task, Recipe(), accelerator=accelerator)


def test_a_batch_that_processes_cannot_share_is_refused_before_any_training(
    tiny_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "_ranks", lambda: SimpleNamespace(num_processes=3, process_index=0, is_main_process=True))
    monkeypatch.setattr(many, "_train", None)
    recipes = [Recipe(steps=2, batch_size=8, seed=seed) for seed in range(4)] + [Recipe(steps=2, batch_size=8, dropout=0.1)]
    with pytest.raises(ValueError, match="batch_size=8 cannot be shared evenly by 3 processes; give a multiple of 3"):
        many.fit_many(tiny_task, recipes, progress=False)
