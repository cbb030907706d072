"""CoTo inside an unmodified ``transformers.Trainer``, or anything that subclasses it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from coto_lab.gating.coto import CoTo
from coto_lab.gating.grouping import By
from coto_lab.gating.handlers import calling_handlers, speak_first, undo_after_exceptions
from coto_lab.gating.ranks import check_agreement, check_processes
from coto_lab.gating.schedules import Linear, Schedule, check_schedule
from coto_lab.gating.training_gates import TrainingGates, begun, check_optimizers
from coto_lab.gating.zero import keep_dropped_still
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

    The gates are put on the model when training begins, so the trainer may make or wrap the model itself (``model_init``, or
    ``peft_config`` in TRL). They are detached when training ends, also if a training step ends in an exception (out of memory,
    Ctrl-C). After an exception elsewhere, such as in ``optimizer.step`` or in another callback, call
    ``gates_of(model).detach()`` before you train without CoTo. Gates that are already on the model are replaced.

    A Trainer's checkpoint holds nothing of CoTo. Resume with the same seed, schedule and ``by``: others give other gates.

    Args:
        schedule: activation probability over progress; by default the paper's linear ramp over 75% of training.
        seed: seed of the gates; with None it is ``args.seed``.
        by: ``"block"`` (the paper), or another value that `attach_gates` takes.

    Attributes:
        coto: the object that draws the gates; None before training begins. ``coto.masks()`` gives the masks of all steps,
            also after training.

    Raises:
        ValueError: at once, if ``schedule`` is not a schedule or ``seed`` is not a seed. When training begins, if
            `attach_gates` raises, if the trainer does not say how many steps it will take, if its optimiser holds none of the
            model's adapters, if it has two such callbacks, if a training that goes on has gates on the same model, or if
            several processes or GPUs cannot train it (`check_processes`, `check_agreement`, `keep_dropped_still`).
        RuntimeError: the trainer has taken steps without firing an event, so the gates did not follow the schedule; the
            callback was added after training had begun.
    """

    def __init__(self, schedule: Schedule | None = None, seed: int | None = None, by: By = "block"):
        self.schedule = check_schedule(Linear() if schedule is None else schedule)
        self.seed = None if seed is None else whole_number("seed", seed, 0, MAX_SEED)
        self.by = by
        self.coto: CoTo | None = None
        self._gates: TrainingGates | None = None
        self._restore: Callable[[], None] = lambda: None
        self._step_begins = False  # does this trainer fire on_step_begin?

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.schedule}, seed={self.seed}, by={self.by!r})"

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        **_: Any,
    ) -> None:
        assert model is not None
        self._check_alone(model)
        check_optimizers([optimizer], model)
        check_processes(args, model)
        total_steps = state.max_steps if state.max_steps > 0 else args.max_steps
        if total_steps <= 0:
            raise ValueError(
                f"max_steps={total_steps}: the trainer does not say how many steps it will take, so p(t) is not defined. Set "
                "TrainingArguments(max_steps=...)."
            )
        seed = args.seed if self.seed is None else self.seed
        step = state.global_step
        self._gates = TrainingGates(model, self.by, self.schedule, total_steps=total_steps, seed=seed, step=step)
        self.coto = self._gates.coto
        try:
            check_agreement(self.coto)
            keep_dropped_still(optimizer, self.coto.gates)
        except ValueError:
            self._detach()
            raise
        self._restore = undo_after_exceptions(self._detach)
        self._step_begins = False
        if state.is_world_process_zero:
            print(self._gates)
        speak_first(self)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._step_begins = True
        begun(self._gates).go_to(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        gates = begun(self._gates)
        if self._step_begins:
            gates.open_all()
        else:
            gates.go_to(max(state.global_step, gates.coto.current_step + 1))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        self._check_followed(state)
        if self._gates is None or not logs:
            return
        if any(key.endswith("_runtime") for key in logs):  # an evaluation's log, or the summary
            return
        own = self._gates.logs()
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

    def _detach(self) -> None:
        self._restore()
        if self._gates is not None:
            self._gates.detach()
            self._gates = None

    def _check_followed(self, state: TrainerState) -> None:
        if missed := self._missed(state):
            raise RuntimeError(missed)

    def _missed(self, state: TrainerState) -> str:
        if self._gates is None or state.global_step <= self._gates.coto.current_step + 1:
            return ""
        return (
            f"the trainer is at step {state.global_step} and the gates are still those of step "
            f"{self._gates.coto.current_step}: its training loop fires neither on_step_begin nor on_step_end. Have it fire one "
            "of them (trainer.callback_handler.on_step_begin), or call callback.coto.go_to(step) before each step."
        )

    def _check_alone(self, model: nn.Module) -> None:
        """Raise ValueError where another callback would set the gates of ``model`` during the same training."""
        own, *outer = [handler.callbacks for handler in calling_handlers()] or [[]]
        for other in own:
            if isinstance(other, CoToCallback) and other is not self:
                raise ValueError(
                    f"the trainer has two callbacks that set gates, {self} and {other}, and each would replace the gates of "
                    "the other. Keep one (trainer.remove_callback)."
                )
        for other in (callback for callbacks in outer for callback in callbacks):
            if isinstance(other, CoToCallback) and (other is self or other._is_training(model)):
                raise ValueError(
                    f"{other} sets the gates of a training that goes on, and the training that begins inside it would take "
                    "them away. Give the inner trainer a copy of the model (copy.deepcopy) and a callback of its own."
                )

    def _is_training(self, model: nn.Module) -> bool:
        return self._gates is not None and not set(model.modules()).isdisjoint(self._gates.layers.values())
