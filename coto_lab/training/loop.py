"""Training an adapter: `fit` for scripts, `Training` for whoever wants to watch every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from coto_lab.adapters.adapter import Adapter
from coto_lab.gating.coto import CoTo
from coto_lab.gating.gates import Gates
from coto_lab.gating.ranks import check_same
from coto_lab.ground.files import check_place
from coto_lab.ground.numbers import whole_number
from coto_lab.tasks.check import check_task
from coto_lab.tasks.task import Task
from coto_lab.training import checkpoint as checkpoint_file
from coto_lab.training.history import History, Step, gate_norms
from coto_lab.training.one_adapter import OneAdapter
from coto_lab.training.recipe import Recipe, check_recipe
from coto_lab.training.run import Run
from coto_lab.training.step import take_step

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
    """Train an adapter for ``task`` by ``recipe``, on the accelerator if there is one.

    Under ``accelerate launch`` several processes train it together: each takes its share of every batch, and all return the
    same run. One of them writes ``checkpoint``. Let one save the run as well:
    ``if accelerate.PartialState().is_main_process: run.save(path)``. When a process ends, the others end with an error.

    Args:
        task: base model and data.
        recipe: how to train.
        on_step: called with every `Step` record.
        checkpoint: a file that holds the state of the training. If it exists, training goes on from it, to bitwise the
            weights of a training that was never interrupted.
        checkpoint_every: optimiser steps between two writings of that file; it is also written at the end.
        progress: show a bar.

    Raises:
        TypeError: ``task`` lacks a part of the protocol; ``recipe`` is no `Recipe`; ``on_step`` or ``checkpoint`` is of
            another kind.
        OSError: ``checkpoint`` cannot be written; nothing was trained.
        ValueError: ``checkpoint`` is truncated, foreign, or of another recipe or base; ``checkpoint_every`` below 1;
            processes that do not agree on what they train, or do not see the same ``checkpoint``.
        FloatingPointError: the loss is no longer finite.
    """
    from tqdm.auto import tqdm

    if on_step is not None and not callable(on_step):
        raise TypeError(f"on_step={on_step!r}: give a function that takes a Step, or None.")
    if checkpoint is not None and not isinstance(checkpoint, (str, Path)):
        raise TypeError(f"checkpoint={checkpoint!r}: give the path of a file, or None.")
    checkpoint_every = whole_number("checkpoint_every", checkpoint_every, 1)
    training = Training(task, recipe)
    if checkpoint is not None and Path(checkpoint).exists():
        training.load(checkpoint)
    elif checkpoint is not None:
        check_place(Path(checkpoint))
    check_same(steps_in_the_checkpoint=len(training.records))
    quiet = not (progress and training.accelerator.is_main_process)
    with tqdm(total=recipe.steps, initial=len(training.records), disable=quiet, unit="step") as bar:
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
        task, recipe: what is trained, and how.
        records: the steps so far.
        diverged: whether the last step was refused because its loss was not finite.

    Raises:
        TypeError: ``task`` lacks a part of the protocol; ``recipe`` is no `Recipe`.
        ValueError: a task whose loss or measure does not fit (`coto_lab.tasks.check`); a batch size that the processes cannot
            share evenly; processes that do not agree on what they train; fp16 mixed precision.

    Source: arXiv:2506.05713, progressive activation; one step is `take_step`, on accelerate.
    """

    def __init__(self, task: Task, recipe: Recipe, *, accelerator: Accelerator | None = None):
        check_task(task)
        check_recipe(recipe)
        self.task, self.recipe = task, recipe
        self.records: list[Step] = []
        self.diverged = False
        self._trainee = OneAdapter(task, recipe, accelerator)

    @property
    def model(self) -> nn.Module:
        """The PEFT model."""
        return self._trainee.model

    @property
    def gates(self) -> Gates:
        """Its gates."""
        return self._trainee.gates

    @property
    def coto(self) -> CoTo:
        """What draws the gates; another may be put in its place."""
        return self._trainee.coto

    @coto.setter
    def coto(self, coto: CoTo) -> None:
        self._trainee.coto = coto

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser, as accelerate prepared it."""
        return self._trainee.optimizer

    @property
    def accelerator(self) -> Accelerator:
        """From accelerate."""
        return self._trainee.accelerator

    def __iter__(self) -> Iterator[Step]:
        while len(self.records) < self.recipe.steps:
            yield self.step()

    def step(self) -> Step:
        """Take one optimiser step.

        Raises:
            FloatingPointError: the loss is not finite; the adapter is as before the step.
        """
        started, t = time.perf_counter(), len(self.records)
        outcome = take_step(self.task, self._trainee, [self.recipe], t, torch.ones(1, dtype=torch.bool))
        loss, norms = outcome.loss.item(), outcome.grad_norm[0]
        self.diverged = not outcome.moving.item()
        if self.diverged:
            advice = (
                f"try a learning rate below lr={self.recipe.lr}."
                if t
                else f"nothing is learned yet, so look at what task {self.task.name!r} makes of these examples."
            )
            raise FloatingPointError(f"the loss of step {t} is {loss}; {advice}")
        record = Step(
            step=t,
            loss=loss,
            lr=self.recipe.learning_rate(t),
            p=self.coto.probability(t),
            mask=outcome.mask[0],
            grad_norm=gate_norms(norms, self.gates.gate_of_module, len(self.gates)),
            module_grad_norm=norms,
            seconds=time.perf_counter() - started,
        )
        self.records.append(record)
        return record

    def run(self) -> Run:
        """The run so far: the adapter as it is now and the history of the steps taken."""
        trained = self.recipe.adapter_method.finished(Adapter.from_model(self.model), self._trainee.start)
        adapter = replace(trained, base=self.task.base)
        return Run(adapter, self.history(), self.recipe, self.task.name, self.task.base, self.diverged)

    def history(self) -> History:
        """The records so far, as columns."""
        gates = self.gates
        return History.from_steps(self.records, gates.names, gates.modules, gates.gate_of_module)

    def save(self, path: str | Path) -> None:
        """Write the state of the training to one file, atomically; an earlier state there is replaced.

        Raises:
            FileExistsError: ``path`` is something else than a training state.
            TypeError: the optimiser of the method keeps something that a file cannot hold.
            OSError: the disk is full or not writable; an earlier state is as it was.
        """
        if self.accelerator.is_main_process:
            trainee = self._trainee
            checkpoint_file.save(Path(path), self.run(), self.model, self.optimizer, trainee.rng.state, trainee.first_batch)

    def load(self, path: str | Path) -> None:
        """Go on from a state that `save` wrote.

        Raises:
            ValueError: the file is truncated, damaged, foreign, of another recipe, task, base or optimiser, from another
                kind of device, or of a training on other data or in other dtypes; nothing was changed.
        """
        rng, first_batch = self._trainee.rng, self._trainee.first_batch
        history, state = checkpoint_file.load(Path(path), self.run(), self.model, self.optimizer, rng.state, first_batch)
        self.records = history.steps()
        rng.state = state
