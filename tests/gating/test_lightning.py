"""What `CoToLightning` refuses, says and logs. The features of a training are in tests/trainers/test_lightning.py."""

from __future__ import annotations

import csv
import inspect
import logging
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch
import pytest
import tiny_models as tiny
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import ModelParallelStrategy
from trained_by_hand import BLOCKS, SEED, Passes, adapted, drawn, groups, train_by_hand
from trained_weights import same, weights
from trainers.test_lightning import Module, Validated, batches, coto, pytestmark, train, trainer_of  # noqa: F401

from coto_lab import Constant, Linear, attach_gates, gates_of
from coto_lab.gating.coto import draw_mask
from coto_lab.gating.lightning import CoToLightning, _check_trainer
from coto_lab.gating.schedules import Schedule


def classes(module: torch.nn.Module) -> list[type]:
    return [type(part) for part in module.modules()]


# What is refused


class HandMade(Module):
    automatic_optimization = False


class OfAnother(Module):
    """Its optimiser has the parameters of another model."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1)


class Other(CoToLightning):
    """Lightning itself refuses two callbacks of one class that keep a state."""


def evaluating() -> Module:
    module = Module()
    module.model.eval()
    return module


@pytest.mark.parametrize(
    ("make", "callbacks", "settings", "message"),
    [
        (Module, [CoToLightning(), Other()], {}, "more than one CoToLightning"),
        (HandMade, [CoToLightning()], {}, r"automatic_optimization=False: .*coto.step\(\) after each optimizer.step"),
        (Module, [CoToLightning()], {"max_epochs": -1}, r"max_steps=-1: .*Set Trainer\(max_steps="),
        (OfAnother, [CoToLightning()], {}, "holds none of the 12 adapter parameters of its model"),
        (evaluating, [CoToLightning()], {}, r"6 adapter layers are in evaluation mode \(first 'model.*Call train\(\)"),
        (lambda: Module(tiny.llama(BLOCKS)), [CoToLightning()], {}, "has no adapter layers"),
    ],
    ids=["two", "by hand", "no end", "optimiser", "evaluation", "no adapters"],
)
@pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode")  # Lightning warns of it, too
def test_what_gates_cannot_follow_is_refused_at_the_start(make: Any, callbacks: Any, settings: Any, message: str) -> None:
    module = make()
    before, untrained = classes(module), [p.clone() for p in module.parameters()]
    trainer = trainer_of(*callbacks, **settings)
    with pytest.raises(ValueError, match=message):
        trainer.fit(module, batches())
    assert classes(module) == before and all(map(torch.equal, module.parameters(), untrained))


def test_a_strategy_that_shards_layers_is_refused() -> None:
    trainer = SimpleNamespace(callbacks=[CoToLightning()], strategy=ModelParallelStrategy())
    with pytest.raises(ValueError, match=r"strategy=ModelParallelStrategy: .*ddp_find_unused_parameters_true"):
        _check_trainer(trainer, Module())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"schedule": "linear"}, "schedule='linear' gives .*not callable"), ({"seed": -1}, "seed=-1: must be a whole number")],
)
def test_wrong_arguments_are_refused_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CoToLightning(**settings)


def test_without_lightning_the_lab_works_and_says_what_to_install() -> None:
    code = """
        import sys
        sys.modules["lightning"] = None  # as if it were not installed
        import coto_lab
        try:
            import coto_lab.gating.lightning
        except ImportError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True)
    assert done.stdout.strip().endswith("which is not installed: pip install lightning")


# The time of the gates


class Fails(Callback):
    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, i: int) -> None:
        if trainer.global_step == 2:
            raise KeyError("a fault")


def test_gates_come_off_after_an_exception_and_the_same_callback_trains_again() -> None:
    module, callback = Module(), coto()
    before = classes(module)
    with pytest.raises(KeyError, match="a fault"):
        train(module, callback, Fails())
    assert classes(module) == before
    module = Module()
    train(module, callback)
    assert classes(module) == before
    assert same(weights(module.model), train_by_hand(groups(epochs=2), drawn(Linear(start=0.2), 10)))


class Looks(Callback):
    """At the gates, wherever Lightning calls other people's code outside of a training batch."""

    def __init__(self) -> None:
        self.masks: list[list[bool]] = []

    def look(self, trainer: Any, module: Any, *_: Any) -> None:
        self.masks.append(gates_of(module).mask.tolist())

    on_train_start = on_train_batch_end = on_train_epoch_end = on_train_end = look


def test_between_training_batches_all_gates_are_open() -> None:
    looks = Looks()
    train(Module(), coto(Constant(0.0)), looks)
    assert looks.masks == [[True] * BLOCKS] * (1 + 10 + 2 + 1)


def test_gates_that_are_there_are_replaced() -> None:
    module = Module()
    gates = attach_gates(module)  # a look at them
    train(module, coto(), max_epochs=1)
    with pytest.raises(RuntimeError, match="no longer in use"):
        gates.close(0)


def test_by_module_gates_every_layer_on_its_own() -> None:
    module, callback = Module(), CoToLightning(Constant(0.5), seed=0, by="module")
    before = weights(module.model)
    train(module, callback, max_steps=1)
    mask = draw_mask(2 * BLOCKS, 0.5, 0, 0).tolist()
    assert [not torch.equal(before[name], own) for name, own in weights(module.model).items() if "lora_B" in name] == mask


def test_a_checkpoint_that_is_validated_does_not_give_its_seed_to_the_next_training(tmp_path: Path) -> None:
    train(Validated(), coto(), ModelCheckpoint(tmp_path, filename="seeded"))
    callback = CoToLightning()
    trainer = trainer_of(callback, ModelCheckpoint(tmp_path))
    trainer.validate(Validated(), batches(4), ckpt_path=tmp_path / "seeded.ckpt", verbose=False)
    trainer.fit(Validated(), batches(), batches(4))
    assert callback.coto is not None and callback.coto.seed == 0


@pytest.mark.parametrize(("given", "expected"), [(None, 7), (3, 3)])
def test_the_seed_is_that_of_seed_everything_unless_given(
    given: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # so that it is put back
    lightning.pytorch.seed_everything(7, verbose=False)
    module, callback = Module(), CoToLightning(Constant(0.5), seed=given)
    passes = Passes(module.model)
    train(module, callback, max_epochs=1)
    assert passes.training() == drawn(Constant(0.5), 5, seed=expected)


# What is said


def test_the_schedule_is_said_once_and_each_log_has_p_and_the_open_gates(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    schedule: Schedule = Linear(start=0.1)
    callback, logger = CoToLightning(schedule, seed=SEED), CSVLogger(tmp_path)
    with caplog.at_level(logging.INFO):
        train(Module(), callback, logger=logger, log_every_n_steps=2, max_epochs=2, accumulate_grad_batches=2)
    assert caplog.text.count(f"CoTo: number of gates 3, p(t) = {schedule}, 6 steps, seed {SEED}.") == 1
    assert callback.coto is not None
    masks = callback.coto.masks()
    with open(Path(logger.log_dir) / "metrics.csv", newline="", encoding="utf-8") as file:
        logged = list(csv.DictReader(file))
    assert [row["step"] for row in logged] == ["1", "3", "5"]
    for row in logged:
        step = int(row["step"])
        assert float(row["coto_p"]) == pytest.approx(schedule(step / 6))
        assert float(row["coto_open"]) == int(masks[step].sum())
        assert float(row["coto_open_share"]) == pytest.approx(masks[: step + 1].double().mean().item())


@pytest.mark.filterwarnings("ignore:.*is smaller than the logging interval")  # these epochs are short
def test_the_snippet_of_the_docstring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # Lightning saves there what it trained
    text = inspect.getdoc(CoToLightning) or ""
    snippet = textwrap.dedent(text.split("::\n\n")[1].split("\n\nThe adapters")[0])
    module = Module()
    exec(snippet, {"module": module, "batches": batches()})
    assert not same(weights(module.model), weights(adapted()))
