"""CoTo inside an unmodified ``transformers.Trainer``, or anything that subclasses it."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from coto_lab.coto import CoTo
from coto_lab.gates import Gates, attach_gates
from coto_lab.schedules import Linear, Schedule


class CoToCallback(TrainerCallback):
    """Switches adapters on progressively while a Trainer trains::

        Trainer(model=peft_model, args=args, train_dataset=data, callbacks=[CoToCallback()])

    Gates are drawn once per optimiser step, so the micro-batches of an accumulation group share them. They are a pure
    function of (seed, global step): a resumed training needs nothing from the checkpoint, and one saved without CoTo
    resumes too. Gates hold only while the model is in training mode, so every evaluation sees the whole adapter.

    The gates come off when training ends. After an exception they stay, which evaluation does not notice: this callback
    takes them off when it trains again, but before another one does, call ``gates_of(model).detach()``.

    Args:
        schedule: activation probability over progress; by default the paper's linear ramp over 75% of training.
        seed: seed of the gates; None takes ``args.seed``.
        by: ``"block"`` (the paper) or ``"module"``.

    Raises:
        ValueError: when training begins, what `attach_gates` raises; or DistributedDataParallel would be told that every
            parameter is used.
    """

    def __init__(self, schedule: Schedule | None = None, seed: int | None = None, by: str = "block"):
        self.schedule = schedule or Linear()
        self.seed = seed
        self.by = by
        self.coto: CoTo | None = None
        self._gates: Gates | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **_: Any,
    ) -> None:
        assert model is not None
        if args.world_size > 1 and not _finds_unused_parameters(args, model):
            raise ValueError(
                "dropped adapters get no gradient, so DistributedDataParallel must look for unused parameters: set "
                f"TrainingArguments(ddp_find_unused_parameters=True); it is {args.ddp_find_unused_parameters}."
            )
        self._detach()  # an earlier training that ended in an exception
        self._gates = attach_gates(model, by=self.by)  # type: ignore[arg-type]
        seed = args.seed if self.seed is None else self.seed
        self.coto = CoTo(self._gates, self.schedule, total_steps=state.max_steps, seed=seed)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        assert self.coto is not None
        self.coto.go_to(state.global_step)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._detach()

    def _detach(self) -> None:
        if self._gates is not None:
            self._gates.detach()
            self._gates = None


def _finds_unused_parameters(args: TrainingArguments, model: nn.Module) -> bool:
    if args.ddp_find_unused_parameters is not None:
        return bool(args.ddp_find_unused_parameters)
    # Trainer's own choice: yes, except for a transformers model (`model.add_adapter`) with checkpointing.
    checkpoints = args.gradient_checkpointing or any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
    return not (isinstance(model, PreTrainedModel) and checkpoints)
