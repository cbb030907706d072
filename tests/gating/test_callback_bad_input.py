"""Trainers that the callback refuses when training begins: another callback's gates, and an optimiser of another model."""

from __future__ import annotations

import copy
from functools import partialmethod
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from gating.test_callback import Watch, classes, make_trainer, tiny_peft
from tiny_models import config_of, vit
from torch import nn
from trained_weights import weights
from transformers import Trainer, TrainerCallback

from coto_lab import Constant, CoToCallback, Linear, gates_of


def bringing(model: nn.Module) -> type[Trainer]:
    """A Trainer with an optimiser that was made by hand, now, from a model's trained parameters."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    return type("Bringing", (Trainer,), {"__init__": partialmethod(Trainer.__init__, optimizers=(optimizer, None))})


def test_an_optimiser_of_another_copy_of_the_model_is_refused(tmp_path: Path) -> None:
    model = tiny_peft()
    before, other = classes(model), copy.deepcopy(model)
    trainer = make_trainer(tmp_path, CoToCallback(), model=model, trainer_class=bringing(other))
    message = r"optimizer of the trainer holds none of the 16 adapter parameters of its model \(PeftModel\).*after the adapters"
    with pytest.raises(ValueError, match=message):
        trainer.train()
    assert classes(model) == before


def test_an_optimiser_from_before_the_adapters_were_added_is_refused(tmp_path: Path) -> None:
    base = vit(layers=4)
    trainer_class = bringing(base)  # it holds the base's parameters, which get_peft_model freezes
    model = peft.get_peft_model(base, config_of("LoRA"))
    with pytest.raises(ValueError, match="holds none of the 16 adapter parameters"):
        make_trainer(tmp_path, CoToCallback(), model=model, trainer_class=trainer_class).train()


def test_several_gpus_without_a_launcher_are_refused(tmp_path: Path) -> None:
    model = tiny_peft()
    before = classes(model)
    trainer = make_trainer(tmp_path, CoToCallback(), model=model)
    trainer.args._n_gpu = 2  # what it is on such a machine; the Trainer then wraps the model in nn.DataParallel
    with pytest.raises(ValueError, match=r"has 2 GPUs, so the Trainer uses nn.DataParallel.*torchrun.*CUDA_VISIBLE_DEVICES=0"):
        trainer.train()
    assert classes(model) == before


def test_an_optimiser_of_some_of_the_adapters_trains_them(tmp_path: Path) -> None:
    model = tiny_peft()
    before = weights(model)
    some = nn.ParameterList(p for name, p in model.named_parameters() if "layers.2" in name and p.requires_grad)
    make_trainer(tmp_path, CoToCallback(Constant(1.0)), model=model, trainer_class=bringing(some)).train()
    moved = {name for name, weight in weights(model).items() if not torch.equal(weight, before[name])}
    assert moved and all("layers.2" in name for name in moved)


def test_two_callbacks_in_one_trainer_are_refused_and_named(tmp_path: Path) -> None:
    model = tiny_peft()
    before = classes(model)
    second = CoToCallback(Constant(0.5), by="module")
    trainer = make_trainer(tmp_path, CoToCallback(seed=1), second, model=model)
    message = (
        r"two callbacks that set gates, CoToCallback\(Linear\(.*\), seed=1, by='block'\) and "
        r"CoToCallback\(Constant\(p=0\.5\), seed=None, by='module'\).*Keep one"
    )
    with pytest.raises(ValueError, match=message):
        trainer.train()
    assert classes(model) == before
    trainer.remove_callback(second)
    trainer.train()
    assert trainer.state.global_step == 6


class TrainsInside(TrainerCallback):
    """In the second step of a training, trains a model with a callback."""

    def __init__(self, folder: Path, model: nn.Module, callback: CoToCallback):
        self.inner = make_trainer(folder, callback, model=model, max_steps=2)

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 1:
            self.inner.train()


def test_a_training_inside_a_training_of_the_same_model_is_refused(tmp_path: Path) -> None:
    model = tiny_peft()
    inside = TrainsInside(tmp_path / "inner", model, CoToCallback(seed=2))
    trainer = make_trainer(tmp_path, CoToCallback(seed=1), inside, model=model, gradient_accumulation_steps=2)
    with pytest.raises(ValueError, match=r"CoToCallback\(.*seed=1.*\) sets the gates of a training that goes on"):
        trainer.train()
    assert len(gates_of(model)) == 4  # those of the outer training


def test_a_callback_has_one_training_at_a_time(tmp_path: Path) -> None:
    callback = CoToCallback(seed=1)
    inside = TrainsInside(tmp_path / "inner", tiny_peft(), callback)
    with pytest.raises(ValueError, match="sets the gates of a training that goes on"):
        make_trainer(tmp_path, callback, inside, gradient_accumulation_steps=2).train()


def test_a_training_of_another_model_inside_a_training_is_let_be(tmp_path: Path) -> None:
    model, other = tiny_peft(), tiny_peft()
    outer, inner = CoToCallback(Constant(0.4), seed=3), CoToCallback(Linear(), seed=2)
    watch, inside = Watch(model), TrainsInside(tmp_path / "inner", other, inner)
    make_trainer(tmp_path, outer, inside, model=model, gradient_accumulation_steps=2, max_steps=3).train()
    assert outer.coto is not None and inner.coto is not None and inner.coto.total_steps == 2
    masks = [mask for mask in outer.coto.masks().tolist() for _ in range(2)]
    assert watch.masks([f"vit.layers.{i}" for i in range(4)], training=True) == masks


class AddsTheGates(TrainerCallback):
    """Gives the trainer a CoToCallback when training has begun: the handler goes on with the list that it had."""

    def __init__(self) -> None:
        self.trainer: Trainer | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        assert self.trainer is not None
        self.trainer.callback_handler.callbacks = [*self.trainer.callback_handler.callbacks, CoToCallback()]


def test_a_callback_that_comes_after_the_beginning_is_refused(tmp_path: Path) -> None:
    late = AddsTheGates()
    late.trainer = make_trainer(tmp_path, late)
    with pytest.raises(RuntimeError, match=r"was added to the trainer after the training had begun\. Add it before"):
        late.trainer.train()


class Breaks(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        raise KeyError("a fault")


def test_after_an_exception_taking_the_gates_off_makes_embeddings_ask_again(tmp_path: Path) -> None:
    model = tiny_peft()
    model.enable_input_require_grads()
    settings = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    with pytest.raises(KeyError, match="a fault"):
        make_trainer(tmp_path, CoToCallback(), Breaks(), model=model, **settings).train()
    gates_of(model).detach()
    base = model.get_base_model()
    assert "enable_input_require_grads" not in vars(base)
    hooks = list(base.get_input_embeddings()._forward_hooks.values())
    assert hooks and all("make_inputs_require_grad" in hook.__name__ for hook in hooks)


def all_blocks_train(folder: Path, model: nn.Module) -> bool:
    """Whether a training without CoTo moves the adapter of each block."""
    before = weights(model)
    make_trainer(folder, model=model).train()
    moved = {name.split("layers.")[1][0] for name, own in weights(model).items() if not torch.equal(own, before[name])}
    return moved == set("0123")


def test_after_a_step_that_failed_a_training_without_coto_trains_every_block(tmp_path: Path) -> None:
    model = tiny_peft()
    before = classes(model)
    trainer = make_trainer(tmp_path, CoToCallback(Constant(0.3)), model=model)
    loss = trainer.compute_loss

    def interrupted(*arguments: Any, **keywords: Any) -> Any:
        if trainer.state.global_step == 2:
            raise KeyboardInterrupt
        return loss(*arguments, **keywords)

    trainer.compute_loss = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert classes(model) == before and "training_step" not in vars(trainer)
    assert all_blocks_train(tmp_path, model)


def test_the_trainers_step_is_its_own_again_after_training(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, CoToCallback())
    trainer.train()
    assert "training_step" not in vars(trainer)
