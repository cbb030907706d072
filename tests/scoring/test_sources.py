"""Adapters of anybody: runs, adapters and folders, of ours and of a plain Trainer; another base is refused."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainingArguments

from coto_lab import (
    Adapter,
    Classification,
    CoToCallback,
    Evaluator,
    Linear,
    Run,
    Variant,
    interpolate,
    merge,
    prune,
    shapley,
    stability,
)  # fmt: skip
from coto_lab.probes.geometry import geometry
from coto_lab.probes.simplex import simplex
from coto_lab.probes.sparsity import sparsity_curve
from coto_lab.probes.theory import barrier_bound, jensen
from coto_lab.scoring.sources import adapter_of, open_source
from coto_lab.training.run import HISTORY
from coto_lab.widgets import Switchboard

UNKNOWN = "does not say by a hash which base model it was trained on"


@pytest.fixture(scope="module")
def folders(tiny_task: Classification, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What a Trainer with the callback left, three seeds."""
    made = []
    for seed in range(3):
        folder = tmp_path_factory.mktemp(f"trainer{seed}")
        torch.manual_seed(seed)
        model = get_peft_model(tiny_task.load_base(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
        args = TrainingArguments(
            folder / "trainer", max_steps=6, learning_rate=0.05, per_device_train_batch_size=8, report_to=[],
            save_strategy="no", use_cpu=True, disable_tqdm=True, seed=seed,
        )  # fmt: skip
        Trainer(model=model, args=args, train_dataset=tiny_task.train, callbacks=[CoToCallback(Linear())]).train()
        model.save_pretrained(folder / "adapter")
        made.append(folder / "adapter")
    return made


@pytest.mark.filterwarnings(f"ignore:.*{UNKNOWN}:UserWarning")
def test_an_adapter_of_a_plain_trainer_goes_by_path_through_every_probe(tiny_task: Classification, folders: list[Path]) -> None:
    first, second, _ = folders
    adapter = Adapter.load(first)
    expected = Evaluator(tiny_task)([Variant(adapter)])
    table = prune(tiny_task, first)
    assert table.accuracy[0] == expected.accuracy[0] and table.patterns[0] == "all"
    curve = interpolate(tiny_task, first, str(second), alphas=3)
    assert curve.accuracy[0] == expected.accuracy[0]
    assert shapley(tiny_task, first).v_full == pytest.approx(expected.accuracy.item())
    assert stability(tiny_task, first, samples=2).accuracy[-1] == expected.accuracy[0]
    assert jensen(tiny_task, first, ps=3).whole_loss == pytest.approx(expected.loss.item())
    assert sparsity_curve(tiny_task, first, [0.0, 0.5]).accuracy[0] == expected.accuracy[0]
    assert simplex(tiny_task, folders, steps=1).corners == ("adapter", "adapter", "adapter")
    assert len(barrier_bound(tiny_task, folders, alphas=3, samples=2).pairs) == 3
    assert geometry({"a": first, "b": second}).cosine[0, 1] < 1
    assert merge(folders).config == adapter.config
    board = Switchboard(tiny_task, {"trainer": first}, images=9)
    board.mask = torch.zeros(len(board.mask), dtype=torch.bool)
    assert "0 of 8 adapters open" in board.text.value


def test_a_folder_that_tells_no_base_is_taken_with_a_warning(tiny_task: Classification, folders: list[Path]) -> None:
    for source in (folders[0], Adapter.load(folders[0])):
        with pytest.warns(UserWarning, match=f"run {UNKNOWN}"):
            prune(tiny_task, source)


def test_and_looked_at_by_its_shapes(tiny_task: Classification, folders: list[Path]) -> None:
    adapter = Adapter.load(folders[0])
    key = next(iter(adapter.tensors))
    wider = replace(adapter, tensors=adapter.tensors | {key: torch.zeros(2, 99)})
    elsewhere = replace(adapter, tensors={key.replace("layers.0", "layers.9"): t for key, t in adapter.tensors.items()})
    for stranger in (wider, elsewhere):
        with pytest.warns(UserWarning, match=UNKNOWN), pytest.raises(ValueError, match=r"does not fit the (base )?model"):
            prune(tiny_task, stranger)


def test_a_run_its_adapter_and_its_folder_are_the_same_source(
    tiny_task: Classification, runs: tuple[Run, Run], tmp_path: Path
) -> None:
    folder = runs[0].save(tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [adapter_of(tiny_task, source, "run") for source in (runs[0], runs[0].adapter, folder, Adapter.load(folder))]
    assert all(torch.equal(adapter.tensors[key], found[0].tensors[key]) for adapter in found for key in adapter.tensors)
    assert {adapter.base for adapter in found} == {"tiny base"}


def test_another_base_is_refused_by_its_identity(tiny_task: Classification, runs: tuple[Run, Run], tmp_path: Path) -> None:
    stranger = replace(runs[0], base="another base", adapter=replace(runs[0].adapter, base="another base"))
    for source, task in (
        (stranger, r" \(task 'tiny'\)"),
        (stranger.adapter, ""),
        (stranger.save(tmp_path / "run"), r" \(task.*"),
    ):
        with pytest.raises(
            ValueError, match=f"run was trained on another base model{task}, 'another base', than task 'tiny' has, 'tiny base'"
        ):
            prune(tiny_task, source)


def test_a_run_of_another_task_on_the_same_base_is_refused(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    with pytest.raises(ValueError, match=r"run was trained on task 'letters', not on 'tiny'.*use merge\(\)"):
        prune(tiny_task, replace(runs[0], task="letters"))


def test_a_runs_folder_without_its_history_holds_an_adapter_still(runs: tuple[Run, Run], tmp_path: Path) -> None:
    folder = runs[0].save(tmp_path / "run")
    assert isinstance(open_source(folder, "run"), Run)
    (folder / HISTORY).unlink()
    found = open_source(folder, "run")
    assert isinstance(found, Adapter) and found.tensors.keys() == runs[0].adapter.tensors.keys()


@pytest.mark.parametrize("source", [None, 3, {"adapter": 1}])
def test_anything_else_is_refused(tiny_task: Classification, source: object) -> None:
    with pytest.raises(TypeError, match=f"run is a {type(source).__name__}: give a Run, an Adapter, or the folder of either"):
        prune(tiny_task, source)
