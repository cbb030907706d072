"""What the callback asks of the arguments and of whoever calls it, event by event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gating.test_callback import make_trainer, tiny_peft
from tiny_models import config_of, vit
from torch import nn
from transformers import Trainer, TrainerState, TrainingArguments

from coto_lab import Constant, CoToCallback, Linear
from coto_lab.gating.coto import draw_mask

REENTRANT = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}
OTHER_KIND = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}


class OfTwo(TrainingArguments):
    """Those of one of two processes, as `accelerate launch` makes them."""

    world_size = property(lambda self: 2)  # type: ignore[assignment]


def begin(folder: Path, model: nn.Module, kind: type[TrainingArguments] = OfTwo, **settings: Any) -> CoToCallback:
    """A callback that has heard of the beginning of a training of three steps; a trainer has prepared the model."""
    args = kind(folder, use_cpu=True, report_to=[], max_steps=3, **settings)  # first: it resets the state of accelerate
    trainer = make_trainer(folder, model=model, **settings)
    if trainer.args.gradient_checkpointing:
        model.gradient_checkpointing_enable(trainer.args.gradient_checkpointing_kwargs)
    callback = CoToCallback(Constant(0.5), seed=1)
    callback.on_train_begin(args, TrainerState(max_steps=3), trainer.control, model=model)
    return callback


def of_transformers() -> nn.Module:
    """A transformers model with an adapter, for which Trainer decides otherwise than for a PEFT model."""
    model = vit(layers=4)
    model.add_adapter(config_of("LoRA"))
    return model


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (tiny_peft, {}),
        (tiny_peft, {"ddp_find_unused_parameters": True}),
        (tiny_peft, OTHER_KIND),
        (of_transformers, {}),
        (of_transformers, {"ddp_find_unused_parameters": True, **OTHER_KIND}),
    ],
)
def test_two_processes_that_look_for_unused_parameters_are_let_be(tmp_path: Path, make: Any, settings: dict[str, Any]) -> None:
    assert begin(tmp_path, make(), **settings).coto is not None


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (tiny_peft, {"ddp_find_unused_parameters": False}, "ddp_find_unused_parameters=True.; it is False"),
        (of_transformers, OTHER_KIND, "ddp_find_unused_parameters=True.; it is None"),
        (tiny_peft, REENTRANT, "fails with reentrant gradient checkpointing"),
    ],
)
def test_two_processes_that_would_fail_are_refused_before_anything_is_gated(
    tmp_path: Path, make: Any, settings: dict[str, Any], message: str
) -> None:
    model = make()
    before = [type(module) for module in model.modules()]
    with pytest.raises(ValueError, match=message):
        begin(tmp_path, model, **settings)
    assert [type(module) for module in model.modules()] == before


def test_checkpointing_that_the_model_began_itself_counts_too(tmp_path: Path) -> None:
    model = of_transformers()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    with pytest.raises(ValueError, match="it is None"):
        begin(tmp_path, model)
    model = tiny_peft()
    model.gradient_checkpointing_enable()  # the kind of torch's default is not said, so the reentrant one is assumed
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            module._gradient_checkpointing_func = torch.utils.checkpoint.checkpoint
    with pytest.raises(ValueError, match="reentrant"):
        begin(tmp_path, model)


@pytest.mark.parametrize("settings", [{"ddp_find_unused_parameters": False}, REENTRANT], ids=["finds none", "reentrant"])
def test_one_process_may_have_any_of_it(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert begin(tmp_path, tiny_peft(), TrainingArguments, **settings).coto is not None


# Event by event


def heard(folder: Path, step: int = 0) -> tuple[CoToCallback, Trainer]:
    """A callback that goes on from ``step`` of a training of four steps."""
    trainer, callback = make_trainer(folder, max_steps=4), CoToCallback(Linear(start=0.2), seed=1)
    trainer.state = TrainerState(max_steps=4, global_step=step)
    callback.on_train_begin(trainer.args, trainer.state, trainer.control, model=trainer.model)
    return callback, trainer


def logged(callback: CoToCallback, trainer: Trainer, **logs: float) -> dict[str, float]:
    callback.on_log(trainer.args, trainer.state, trainer.control, logs=logs)
    return logs


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_training_that_goes_on_from_any_step_logs_the_gates_of_that_step(tmp_path: Path, step: int) -> None:
    callback, trainer = heard(tmp_path, step)
    masks = [draw_mask(4, Linear(start=0.2)(i / 4), 1, i) for i in range(step + 1)]
    expected = {"coto_p": Linear(start=0.2)(step / 4), "coto_open": int(masks[-1].sum())}
    share = torch.stack(masks).double().mean().item()
    assert logged(callback, trainer, loss=1.0) == {"loss": 1.0, **expected, "coto_open_share": pytest.approx(share)}


def test_only_a_log_of_this_step_is_added_to(tmp_path: Path) -> None:
    callback, trainer = heard(tmp_path, step=1)
    trainer.state.log_history = [{"step": 0, "loss": 2.0}]
    logged(callback, trainer, loss=1.0)
    assert trainer.state.log_history == [{"step": 0, "loss": 2.0}]
    trainer.state.log_history.append({"step": 1, "loss": 1.0})
    logged(callback, trainer, loss=1.0)
    assert "coto_p" in trainer.state.log_history[1] and "coto_p" not in trainer.state.log_history[0]


def test_nothing_is_added_to_an_empty_log_an_evaluations_or_one_after_the_end(tmp_path: Path) -> None:
    callback, trainer = heard(tmp_path)
    assert logged(callback, trainer) == {}
    assert logged(callback, trainer, eval_loss=1.0, eval_runtime=2.0) == {"eval_loss": 1.0, "eval_runtime": 2.0}
    callback.on_log(trainer.args, trainer.state, trainer.control)
    callback.on_train_end(trainer.args, trainer.state, trainer.control)
    assert logged(callback, trainer, loss=1.0) == {"loss": 1.0}
    assert logged(CoToCallback(), trainer, loss=1.0) == {"loss": 1.0}  # it has not begun


@pytest.mark.parametrize("event", ["on_log", "on_save", "on_evaluate"])
def test_every_event_that_tells_the_step_shows_whether_the_gates_follow(tmp_path: Path, event: str) -> None:
    callback, trainer = heard(tmp_path)
    trainer.state.global_step = 1  # the end of step 0 may not have been told yet
    getattr(callback, event)(trainer.args, trainer.state, trainer.control)
    trainer.state.global_step = 2
    with pytest.raises(RuntimeError, match="at step 2 and the gates are still those of step 0"):
        getattr(callback, event)(trainer.args, trainer.state, trainer.control)


def test_at_the_end_whoever_tells_of_it_is_warned(tmp_path: Path) -> None:
    callback, trainer = heard(tmp_path)
    trainer.state.global_step = 2
    with pytest.warns(UserWarning, match="at step 2 and the gates are still those of step 0") as seen:
        callback.on_train_end(trainer.args, trainer.state, trainer.control)
    assert [warning.filename for warning in seen] == [__file__]


def test_a_trainer_of_no_steps_is_refused(tmp_path: Path) -> None:
    trainer, callback = make_trainer(tmp_path, max_steps=0), CoToCallback()
    with pytest.raises(ValueError, match=r"max_steps=0: the trainer does not say how many steps"):
        callback.on_train_begin(trainer.args, TrainerState(max_steps=0), trainer.control, model=trainer.model)


def test_the_steps_of_the_state_come_before_those_of_the_arguments(tmp_path: Path) -> None:
    trainer, callback = make_trainer(tmp_path, max_steps=9), CoToCallback()
    for known, expected in ((1, 1), (7, 7), (0, 9), (-1, 9)):
        callback.on_train_begin(trainer.args, TrainerState(max_steps=known), trainer.control, model=trainer.model)
        assert callback.coto is not None and callback.coto.total_steps == expected
