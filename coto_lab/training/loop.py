"""Training an adapter: `fit` for scripts, `Training` for whoever wants to watch every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.gating.coto import CoTo
from coto_lab.gating.gates import attach_gates
from coto_lab.ground.randomness import OwnRandomNumbers, batch_indices
from coto_lab.tasks import Task
from coto_lab.training import checkpoint as checkpoint_file
from coto_lab.training.history import History, Step, gate_norms
from coto_lab.training.recipe import Recipe
from coto_lab.training.run import Run

if TYPE_CHECKING:
    from accelerate import Accelerator


def fit(
    task: Task,
    recipe: Recipe,
    *,
    on_step: Callable[[Step], None] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    progress: bool = True,
) -> Run:
    """Train an adapter for ``task`` by ``recipe``, on the accelerator if there is one (``accelerate launch`` for several).

    Args:
        task: base model and data.
        recipe: how to train.
        on_step: called with every `Step` record.
        checkpoint: a file that holds the state of the training. If it exists, training goes on from it, to bitwise the
            weights of a training that was never interrupted.
        checkpoint_every: optimiser steps between two writings of that file; it is also written at the end.
        progress: show a bar.

    Raises:
        ValueError: ``checkpoint`` is truncated, foreign, or of another recipe or base; ``checkpoint_every`` below 1.
        FloatingPointError: the loss is no longer finite.
    """
    from tqdm.auto import tqdm

    if checkpoint_every < 1:
        raise ValueError(f"checkpoint_every={checkpoint_every}: must be at least 1.")
    training = Training(task, recipe)
    if checkpoint is not None and Path(checkpoint).exists():
        training.load(checkpoint)
    with tqdm(total=recipe.steps, initial=len(training.records), disable=not progress, unit="step") as bar:
        for record in training:
            if on_step is not None:
                on_step(record)
            done = record.step + 1
            if checkpoint is not None and (done % checkpoint_every == 0 or done == recipe.steps):
                training.save(checkpoint)
            bar.update()
            bar.set_postfix(loss=f"{record.loss:.3f}", p=f"{record.p:.2f}", refresh=False)
    return training.run()


class Training:
    """A training under way: iterate over it, and each optimiser step yields its `Step` record.

    Two trainings may alternate step by step: each has its own random numbers, and the global ones are left untouched, so
    a run depends on its task and recipe alone. With p = 1 throughout it is bitwise plain LoRA.

    Attributes:
        model: the PEFT model.
        gates, coto: its gates, and what draws them.
        records: the steps so far.

    Raises:
        ValueError: a batch size that the processes cannot share evenly; fp16 mixed precision.

    Source: arXiv:2506.05713, progressive activation; the loop is the plain one, on accelerate.
    """

    def __init__(self, task: Task, recipe: Recipe, *, accelerator: Accelerator | None = None):
        from accelerate import Accelerator, DistributedDataParallelKwargs

        # A dropped adapter gets no gradient, so DistributedDataParallel has to look for the unused ones.
        self.accelerator = accelerator or Accelerator(
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)]
        )
        if self.accelerator.mixed_precision == "fp16":  # its loss is scaled, and so would be the recorded gradients
            raise ValueError("fp16 mixed precision is not supported: take mixed_precision='bf16', or full precision ('no').")
        if recipe.batch_size % self.accelerator.num_processes:  # DDP averages the processes' means: shares must be equal
            raise ValueError(
                f"batch_size={recipe.batch_size} cannot be shared evenly by {self.accelerator.num_processes} processes; "
                f"give a multiple of {self.accelerator.num_processes}."
            )
        self.task, self.recipe = task, recipe
        self.records: list[Step] = []
        self._rng = OwnRandomNumbers(recipe.seed, self.accelerator.device)
        with self._rng.active():
            model = add_adapter(task.load_base(), recipe.peft_config(task.target_modules))
        self.model = model.train()
        self.gates = attach_gates(model)
        self.coto = CoTo(self.gates, recipe.schedule, total_steps=recipe.steps, seed=recipe.seed, tilt=recipe.tilt)
        self._dropouts = [m for layer in self.gates.layers for m in layer.modules() if isinstance(m, nn.Dropout)]
        self._module_parameters = [[p for p in layer.parameters() if p.requires_grad] for layer in self.gates.layers]
        optimizer = torch.optim.AdamW(
            [p for p in model.parameters() if p.requires_grad],
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self._forward, self.optimizer = self.accelerator.prepare(model, optimizer)

    def __iter__(self) -> Iterator[Step]:
        while len(self.records) < self.recipe.steps:
            yield self.step()

    def step(self) -> Step:
        """Take one optimiser step.

        Raises:
            FloatingPointError: the loss is not finite; the adapter is as before the step.
        """
        started = time.perf_counter()
        t = len(self.records)
        mask = self.coto.go_to(t)
        lr = self.recipe.learning_rate(t)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        for dropout in self._dropouts:
            dropout.p = self.recipe.dropout_rate(t)
        with self._rng.active():
            loss = self.task.loss(self._forward, self._batch(t))
            self.accelerator.backward(loss)
        value = self.accelerator.reduce(loss.detach(), "mean").item()
        if not np.isfinite(value):
            self.optimizer.zero_grad()
            raise FloatingPointError(f"the loss of step {t} is {value}; try a learning rate below lr={self.recipe.lr}.")
        norms = self._gradient_norms()
        if self.recipe.max_grad_norm is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        record = Step(
            step=t,
            loss=value,
            lr=lr,
            p=self.coto.probability(t),
            mask=mask,
            grad_norm=gate_norms(norms, self.gates.gate_of_module, len(self.gates)),
            module_grad_norm=norms,
            seconds=time.perf_counter() - started,
        )
        self.records.append(record)
        return record

    def run(self) -> Run:
        """The run so far: the adapter as it is now and the history of the steps taken."""
        return Run(Adapter.from_model(self.model), self.history(), self.recipe, self.task.name, self.task.base)

    def history(self) -> History:
        """The records so far, as columns."""
        gates = self.gates
        return History.from_steps(self.records, gates.names, gates.modules, gates.gate_of_module)

    def save(self, path: str | Path) -> None:
        """Write the state of the training to one file, atomically; an earlier state there is replaced.

        Raises:
            OSError: the disk is full or not writable; an earlier state is as it was.
        """
        if self.accelerator.is_main_process:
            checkpoint_file.save(Path(path), self.run(), self.model, self.optimizer, self._rng.state)

    def load(self, path: str | Path) -> None:
        """Go on from a state that `save` wrote.

        Raises:
            ValueError: the file is truncated, damaged, foreign, of another recipe, task or base, or from another kind of
                device; nothing was changed.
        """
        history, rng = checkpoint_file.load(Path(path), self.run(), self.model, self.optimizer, self._rng.state)
        self.records = history.steps()
        self._rng.state = rng

    def _batch(self, step: int) -> dict[str, Tensor]:
        data = self.task.train_batch
        indices = batch_indices(len(data["labels"]), self.recipe.batch_size, self.recipe.seed, step)
        share = indices[self.accelerator.process_index :: self.accelerator.num_processes]
        return {name: column[share].to(self.accelerator.device) for name, column in data.items()}

    def _gradient_norms(self) -> Tensor:
        """Gradient norm of each adapted module, float32 ``[n_modules]``; 0 where there is no gradient."""
        owners = [i for i, parameters in enumerate(self._module_parameters) for p in parameters if p.grad is not None]
        gradients = [p.grad for parameters in self._module_parameters for p in parameters if p.grad is not None]
        norms = torch.stack(torch._foreach_norm(gradients)).float().cpu()
        return gate_norms(norms, torch.tensor(owners), len(self._module_parameters))
