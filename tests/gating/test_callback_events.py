"""The callback in loops that fire other events than Trainer's, between steps, and in what a Trainer reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import tiny_models as tiny
import torch
from gating.test_callback import BLOCKS, Watch, classes, make_trainer, tiny_peft
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import Trainer, TrainerCallback, TrainingArguments

from coto_lab import Constant, CoToCallback, Linear, attach_gates
from coto_lab.gating.coto import draw_mask

STEPS = 12


class OwnLoop(Trainer):
    """A loop of its own, as TRL's PPOTrainer had one: it says when a training begins and ends, and what `events` names.

    ``late``: it counts a step after its end was told; ``never``: it does not count.
    """

    events: tuple[str, ...] = ("on_step_end",)
    counts = "before"

    def train(self) -> None:
        self.state.max_steps = self.args.max_steps
        self.create_optimizer()
        self.model.train()
        self._fire("on_train_begin", always=True)
        for _ in range(self.args.max_steps):
            self._fire("on_step_begin")
            self.model(input_ids=tiny.TOKENS, labels=tiny.TOKENS).loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.state.global_step += self.counts == "before"
            if "log before" in self.events:
                self.log({"loss": 1.0})
            self._fire("on_step_end")
            if "log after" in self.events:
                self.log({"loss": 1.0})
            self.state.global_step += self.counts == "late"
        self._fire("on_train_end", always=True)

    def _fire(self, event: str, always: bool = False) -> None:
        if always or event in self.events:
            self.control = getattr(self.callback_handler, event)(self.args, self.state, self.control)


class Seen:
    """The blocks that got a gradient at each step."""

    def __init__(self, model: nn.Module):
        self.masks: list[list[bool]] = []
        parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        n_blocks = len(model.get_base_model().model.layers)
        self.blocks = [[p for name, p in parameters.items() if f".layers.{i}." in name] for i in range(n_blocks)]
        self.stop = register_optimizer_step_pre_hook(lambda *_: self.look()).remove

    def look(self) -> None:
        self.masks.append([any(p.grad is not None for p in parameters) for parameters in self.blocks])


def own_loop(folder: Path, events: tuple[str, ...], callback: CoToCallback, counts: str = "before") -> list[list[bool]]:
    model = tiny.adapted(model=tiny.llama(layers=4))
    args = TrainingArguments(
        folder, max_steps=STEPS, report_to=[], save_strategy="no", disable_tqdm=True, use_cpu=True, optim="adamw_torch"
    )
    trainer = OwnLoop(model=model, args=args, train_dataset=[{"input_ids": tiny.TOKENS[0]}], callbacks=[callback])
    trainer.events, trainer.counts = events, counts
    seen = Seen(model)
    try:
        trainer.train()
    finally:
        seen.stop()
    return seen.masks


# Loops of their own


@pytest.mark.parametrize(
    ("events", "counts"),
    [
        (("on_step_end",), "before"),
        (("on_step_end",), "late"),
        (("on_step_end",), "never"),
        (("on_step_begin",), "before"),
        (("on_step_begin", "on_step_end"), "before"),
        (("on_step_end", "log before"), "before"),
        (("on_step_end", "log after"), "before"),
    ],
    ids=str,
)
def test_the_plan_is_followed_whatever_events_are_fired(tmp_path: Path, events: tuple[str, ...], counts: str) -> None:
    callback = CoToCallback(Linear(), seed=5)
    assert own_loop(tmp_path, events, callback, counts) == [
        draw_mask(4, Linear()(t / STEPS), 5, t).tolist() for t in range(STEPS)
    ]


def test_a_loop_that_tells_of_no_step_is_an_error_at_the_first_sign(tmp_path: Path) -> None:
    callback = CoToCallback(Linear())
    message = "at step 2 and the gates are still those of step 0: .*on_step_begin.*on_step_end.*callback.coto.go_to"
    with pytest.raises(RuntimeError, match=message):
        own_loop(tmp_path, ("log after",), callback)


def test_a_loop_that_tells_nothing_at_all_is_warned_of_when_it_ends(tmp_path: Path) -> None:
    callback = CoToCallback(Linear())
    with pytest.warns(UserWarning, match=f"at step {STEPS} and the gates are still those of step 0"):
        own_loop(tmp_path, (), callback)


def test_a_trainer_that_does_not_know_its_length_is_refused(tmp_path: Path) -> None:
    callback = CoToCallback()
    trainer = make_trainer(tmp_path, callback, max_steps=-1, num_train_epochs=1)
    with pytest.raises(ValueError, match=r"max_steps=-1: the trainer does not say how many steps"):
        callback.on_train_begin(trainer.args, trainer.state, trainer.control, model=trainer.model)


# Between steps, and sampling


class Sampling(TrainerCallback):
    """Looks at a model in training mode from a callback: with gradients between steps, and without them within one."""

    def __init__(self) -> None:
        self.outputs: dict[str, list[Tensor]] = {"between": [], "within": [], "whole": []}

    def on_substep_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        with torch.no_grad():
            self.outputs["within"].append(self._logits(model.train()))
            self.outputs["whole"].append(self._logits(model.eval()))
        model.train()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.outputs["between"].append(self._logits(model.train()).detach())
        with torch.no_grad():
            self.outputs["whole"].append(self._logits(model.eval()))
        model.train()

    @staticmethod
    def _logits(model: nn.Module) -> Tensor:
        return model(pixel_values=torch.ones(1, 1, 8, 8)).logits


@pytest.mark.parametrize("first", [False, True], ids=["after CoTo", "before CoTo"])
def test_sampling_in_training_mode_sees_the_whole_adapter(tmp_path: Path, first: bool) -> None:
    model, sampling = tiny_peft(), Sampling()
    callbacks = [sampling, CoToCallback(Constant(0.0))] if first else [CoToCallback(Constant(0.0)), sampling]
    trainer = make_trainer(tmp_path, *callbacks, model=model, gradient_accumulation_steps=2, max_steps=3)
    trainer.train()
    seen = sampling.outputs
    assert len(seen["within"]) == len(seen["between"]) == 3
    within, between = seen["whole"][0::2], seen["whole"][1::2]
    for one, other in zip([*seen["within"], *seen["between"]], [*within, *between], strict=True):
        torch.testing.assert_close(one, other)


def test_generation_in_the_middle_of_a_step_uses_every_block(tmp_path: Path) -> None:
    """As GRPO's rollouts: `generate` on a model in training mode."""
    model = tiny.adapted(model=tiny.llama(layers=4))
    expected = model.generate(input_ids=tiny.TOKENS, max_new_tokens=4, do_sample=False)
    gates = attach_gates(model.train())
    gates.train_with(torch.tensor([False, True, False, False]))
    assert torch.equal(model.generate(input_ids=tiny.TOKENS, max_new_tokens=4, do_sample=False), expected)
    assert not torch.equal(tiny.training_logits(model), tiny.logits(model.eval()))


# What is said


def test_the_schedule_is_said_once_and_every_log_has_p_and_the_open_gates(tmp_path: Path, capsys: Any) -> None:
    callback = CoToCallback(Linear(start=0.1), seed=3)
    trainer = make_trainer(
        tmp_path, callback, max_steps=8, logging_strategy="steps", logging_steps=2, eval_strategy="steps", eval_steps=4
    )
    trainer.train()
    said = capsys.readouterr().out
    assert said.count("CoTo: number of gates 4, p(t) = Linear(start=0.1, end=1.0, ramp=0.75), 8 steps, seed 3.\n") == 1
    schedule, masks = Linear(start=0.1), callback.coto.masks()
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["step"] for entry in history] == [2, 4, 6, 8]
    for entry in history:
        last = entry["step"] - 1
        assert entry["coto_p"] == schedule(last / 8)
        assert entry["coto_open"] == int(masks[last].sum())
        assert entry["coto_open_share"] == pytest.approx(masks[: last + 1].double().mean().item())
    assert not any("coto_p" in entry for entry in trainer.state.log_history if "loss" not in entry)
    assert said.count("coto_open_share") == len(history)  # the console got it, too


def test_reporters_get_it_though_they_come_before_the_users_callbacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer = make_trainer(
        tmp_path, CoToCallback(), max_steps=2, logging_strategy="steps", logging_steps=1, report_to=["tensorboard"]
    )
    trainer.train()
    (events,) = (tmp_path / "board").rglob("events.*")
    written = events.read_bytes()
    assert all(written.count(f"train/{key}".encode()) == 2 for key in ("loss", "coto_p", "coto_open_share"))
    kinds = [type(callback).__name__ for callback in trainer.callback_handler.callbacks]
    assert sorted(kinds) == sorted({*kinds}) and "TensorBoardCallback" in kinds  # none lost, none twice


def test_a_second_training_counts_anew(tmp_path: Path) -> None:
    callback = CoToCallback(Constant(0.5), seed=2)
    trainer = make_trainer(tmp_path, callback, max_steps=4, logging_strategy="steps", logging_steps=4)
    shares = []
    for _ in range(2):
        trainer.train()
        shares += [entry["coto_open_share"] for entry in trainer.state.log_history if "coto_open_share" in entry]
    assert len(set(shares)) == 1


def test_the_share_goes_on_where_a_resumed_training_does(tmp_path: Path) -> None:
    settings = {"max_steps": 8, "logging_strategy": "steps", "logging_steps": 1, "save_strategy": "steps", "save_steps": 4}
    trainers = [make_trainer(tmp_path, CoToCallback(Linear(), seed=1), **settings) for _ in range(2)]
    trainers[0].train()
    trainers[1].train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    shares = [[e["coto_open_share"] for e in t.state.log_history if "coto_open_share" in e] for t in trainers]
    assert shares[0] == shares[1] and len(shares[0]) == 8


def test_a_subclass_speaks_too(tmp_path: Path) -> None:
    class Mine(CoToCallback):
        def on_train_begin(self, *args: Any, **settings: Any) -> None:
            super().on_train_begin(*args, **settings)

    class Listens(TrainerCallback):
        heard: list[dict[str, Any]] = []  # noqa: RUF012

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            self.heard.append(dict(logs))

    trainer = make_trainer(tmp_path, Listens(), Mine(), max_steps=2, logging_strategy="steps", logging_steps=1)
    trainer.train()
    assert ["coto_p" in logs for logs in Listens.heard] == [True, True, False]  # not in the summary


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "linear"}, "schedule='linear' gives .*not callable"),
        ({"schedule": Linear}, r"schedule=.*Linear.* must be a schedule such as Linear\(\)"),
        ({"schedule": lambda progress: 5.0}, r"gives \[5\.0, 5\.0, 5\.0\] at progress 0, 0\.5 and 1"),
        ({"schedule": lambda progress: float("nan")}, "gives .nan"),
        ({"seed": -1}, "seed=-1: must be a whole number"),
        ({"seed": 1.5}, r"seed=1\.5: must be a whole number"),
    ],
    ids=["text", "class", "too much", "nan", "negative", "half"],
)
def test_wrong_arguments_are_refused_before_anything_is_gated(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CoToCallback(**settings)


def test_gates_that_are_there_are_replaced(tmp_path: Path) -> None:
    model = tiny_peft()
    gates = attach_gates(model)  # a look at them
    make_trainer(tmp_path, CoToCallback(Constant(0.5)), model=model, max_steps=2).train()
    with pytest.raises(RuntimeError, match="no longer in use"):
        gates.close(0)


def test_the_same_gates_come_off_and_nothing_else_moves(tmp_path: Path) -> None:
    model = tiny_peft()
    before, watch = classes(model), Watch(model)
    make_trainer(tmp_path, CoToCallback(Constant(0.5), seed=1), model=model, max_steps=3).train()
    assert classes(model) == before
    assert watch.masks(BLOCKS, training=True) == [draw_mask(4, 0.5, 1, step).tolist() for step in range(3)]


def test_a_new_adapter_that_trains_in_mid_training_is_noticed(tmp_path: Path) -> None:
    class Adds(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if state.global_step == 2:
                model.add_adapter("second", tiny.config_of("LoRA"))
                model.base_model.set_adapter(["default", "second"])

    model = peft.get_peft_model(tiny.vit(layers=4), tiny.config_of("LoRA"))
    with pytest.raises(RuntimeError, match="the adapter 'second' trains without a gate by now"):
        make_trainer(tmp_path, CoToCallback(), Adds(), model=model).train()
