"""CoTo inside an unmodified ``transformers.Trainer``, or anything that subclasses it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import CallbackHandler

from coto_lab.gating.checkpointing import let_backward_stop
from coto_lab.gating.coto import CoTo
from coto_lab.gating.gates import Gates, attach_gates, gates_of
from coto_lab.gating.grouping import By
from coto_lab.gating.ranks import check_processes
from coto_lab.gating.schedules import Linear, Schedule, check_schedule
from coto_lab.ground.numbers import MAX_SEED, whole_number


class CoToCallback(TrainerCallback):
    """Switches adapters on progressively while a Trainer trains::

        Trainer(model=peft_model, args=args, train_dataset=data, callbacks=[CoToCallback()])

    Gates are drawn once per optimiser step, so the micro-batches of an accumulation group share them. Gates are a pure
    function of (seed, global step). So a resumed training needs nothing from the checkpoint, and a training that was saved
    without CoTo can be resumed with it. Dropped gates are shut only in training mode with gradients, so every evaluation and
    every generation uses the whole adapter. Between two steps all gates are open.

    A trainer with a training loop of its own works too: if it does not fire ``on_step_begin``, the end of each step sets the
    gates of the next step. In that case the gates are not open between steps.

    At the start, one line says the schedule. Every log of the training (one per ``logging_steps``) gets three more values:
    ``coto_p``, the probability p of the last step, ``coto_open``, the number of gates that it opened, and
    ``coto_open_share``, the share of open gates over all steps so far. The values appear in the history, in the console, and
    in everything else that the Trainer reports to (TensorBoard, W&B, ...).

    Under gradient checkpointing of the kind that is not reentrant, the embeddings do not ask for gradients while it trains, so
    that the backward pass can stop at the lowest open block (`let_backward_stop`).

    The gates are detached when training ends. Gates that are already on the model, because somebody inspected them or because
    an earlier training ended in an exception, are replaced.

    Args:
        schedule: activation probability over progress; by default the paper's linear ramp over 75% of training.
        seed: seed of the gates; with None it is ``args.seed``.
        by: ``"block"`` (the paper), or another value that `attach_gates` takes.

    Attributes:
        coto: the object that draws the gates; None before training begins. ``coto.masks()`` gives the masks of all steps,
            also after training.

    Raises:
        ValueError: at once, if ``schedule`` is not a schedule or ``seed`` is not a seed. When training begins, if
            `attach_gates` raises, if the trainer does not say how many steps it will take, or if DistributedDataParallel does
            not look for unused parameters or is used with reentrant checkpointing.
        RuntimeError: the trainer has taken steps without firing an event, so the gates did not follow the schedule.
    """

    def __init__(self, schedule: Schedule | None = None, seed: int | None = None, by: By = "block"):
        self.schedule = check_schedule(Linear() if schedule is None else schedule)
        self.seed = None if seed is None else whole_number("seed", seed, 0, MAX_SEED)
        self.by = by
        self.coto: CoTo | None = None
        self._gates: Gates | None = None
        self._ask_again: Callable[[], None] | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **_: Any,
    ) -> None:
        assert model is not None
        if args.world_size > 1:
            check_processes(args, model)
        total_steps = state.max_steps if state.max_steps > 0 else args.max_steps
        if total_steps <= 0:
            raise ValueError(
                f"max_steps={total_steps}: the trainer does not say how many steps it will take, so p(t) is not defined. Set "
                "TrainingArguments(max_steps=...)."
            )
        with suppress(ValueError):  # usually the model carries no gates
            gates_of(model).detach()
        self._gates = attach_gates(model, by=self.by)
        self._ask_again = let_backward_stop(model)
        seed = args.seed if self.seed is None else self.seed
        self.coto = CoTo(self._gates, self.schedule, total_steps=total_steps, seed=seed)
        self._step_begins = False  # does this trainer fire on_step_begin?
        # The number of steps so far and of the gates opened in them; a resumed training counts its earlier steps too.
        self._steps = state.global_step
        self._opened = int(self.coto.masks()[: self._steps].sum()) if self._steps else 0
        self._last_step = -1
        self._go_to(state.global_step)
        if state.is_world_process_zero:
            print(f"CoTo: number of gates {len(self._gates)}, p(t) = {self.schedule}, {total_steps} steps, seed {seed}.")
        _speak_first(self)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._step_begins = True
        self._go_to(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        assert self.coto is not None and self._gates is not None
        if self._step_begins:
            self._gates.train_with(torch.ones(len(self._gates), dtype=torch.bool))
        else:
            self._go_to(max(state.global_step, self.coto.current_step + 1))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        self._check_followed(state)
        if self._gates is None or self.coto is None or not logs:
            return
        if any(key.endswith("_runtime") for key in logs):  # an evaluation's log, or the summary
            return
        own = {
            "coto_p": self.coto.probability(self.coto.current_step),
            "coto_open": self._last_opened,
            "coto_open_share": self._opened / (self._steps * len(self._gates)),
        }
        logs.update(own)
        if state.log_history and state.log_history[-1].get("step") == state.global_step:
            state.log_history[-1].update(own)  # the Trainer has put a copy there

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._check_followed(state)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._check_followed(state)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        missed = self._missed(state)
        self._detach()
        if missed:  # a warning and not an error: the model is trained, and the user may want to keep it
            warnings.warn(missed, UserWarning, stacklevel=2)

    def _go_to(self, step: int) -> None:
        assert self.coto is not None
        mask = self.coto.go_to(step)
        if step != self._last_step:
            self._last_step, self._last_opened = step, int(mask.sum())
            self._steps += 1
            self._opened += self._last_opened

    def _check_followed(self, state: TrainerState) -> None:
        if missed := self._missed(state):
            raise RuntimeError(missed)

    def _missed(self, state: TrainerState) -> str:
        if self._gates is None or self.coto is None or state.global_step <= self.coto.current_step + 1:
            return ""
        return (
            f"the trainer is at step {state.global_step} and the gates are still those of step {self.coto.current_step}: its "
            "training loop fires neither on_step_begin nor on_step_end. Have it fire one of them "
            "(trainer.callback_handler.on_step_begin), or call callback.coto.go_to(step) before each step."
        )

    def _detach(self) -> None:
        if self._gates is not None:
            self._gates.detach()
            self._gates = None
        if self._ask_again is not None:
            self._ask_again()
            self._ask_again = None


def _speak_first(callback: CoToCallback) -> None:
    """Move a callback to the front of the handler's list, so that all other callbacks get the values that it adds to the logs.

    A Trainer puts its reporters (TensorBoard, W&B, ...) before the user's callbacks and gives all of them the same logs, one
    after the other. A callback gets no reference to the handler that calls it, so the handler is taken from the call stack.
    """
    frame = sys._getframe(1)
    while frame and not isinstance(handler := frame.f_locals.get("self"), CallbackHandler):
        frame = frame.f_back  # type: ignore[assignment]
    if frame and callback in handler.callbacks:
        # The list is replaced and not changed, because the handler is iterating over it.
        handler.callbacks = [callback, *(other for other in handler.callbacks if other is not callback)]
