"""What a training will need, before it begins: parameters, memory and time, for LoRA and for CoTo."""

from __future__ import annotations

import html
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from coto_lab.gating.checkpointing import is_checkpointed
from coto_lab.gating.coto import training_masks
from coto_lab.gating.gates import attach_gates
from coto_lab.gating.schedules import Constant, Linear
from coto_lab.ground.device import default_device
from coto_lab.ground.numbers import finite_number
from coto_lab.ground.randomness import OwnRandomNumbers
from coto_lab.probes._measured_steps import MeasuredSteps, measure_steps
from coto_lab.probes._rehearsal import stack_of
from coto_lab.probes.cost import Cost, towers_apart
from coto_lab.probes.memory import GIB, Memory, device_memory, in_words, memory_of, room_in
from coto_lab.tasks.check import check_task, fresh_base
from coto_lab.tasks.task import Task, modules_to_save_of, skeleton_of
from coto_lab.training.recipe import Recipe, check_recipe

if TYPE_CHECKING:
    import pandas as pd

_SHORT = (2, 4)  # blocks of the two models that a longer one is extrapolated from


@dataclass(frozen=True, eq=False, repr=False)
class Estimate:
    """What `estimate` returns; a notebook shows it as a table and a sentence.

    Attributes:
        task: the task's name.
        recipe: of the CoTo training; that of LoRA keeps every adapter on.
        device: on which steps were measured.
        parameters: how many the model has, the adapter and new layers among them, as PEFT counts them.
        trainable: how many of them are trained.
        memory: bytes of a training, the same for LoRA and CoTo: at its end CoTo has every adapter on.
        cost: seconds of a step for any mask.
        masks: CoTo's, ``BoolTensor [steps, n_blocks]``.
    """

    task: str
    recipe: Recipe
    device: str
    parameters: int
    trainable: int
    memory: Memory
    cost: Cost
    masks: Bool[Tensor, "steps n_blocks"]

    @cached_property
    def seconds(self) -> dict[str, float]:
        """How long all steps take on this device, ``"LoRA"`` and ``"CoTo"``; loading data and weights comes on top."""
        open_steps = torch.ones_like(self.masks)
        return {name: self.cost.step(masks).sum().item() for name, masks in (("LoRA", open_steps), ("CoTo", self.masks))}

    def table(self) -> pd.DataFrame:
        """One row for LoRA and one for CoTo: parameters, memory, milliseconds of a step, minutes of the training.

        Memory is in GiB, or in MiB where it is less than 1 GiB in all.
        """
        import pandas as pd

        unit, size = ("GiB", GIB) if self.memory.total >= GIB else ("MiB", GIB / 1024)
        needed = {
            "parameters": self.parameters,
            "trainable": self.trainable,
            **{f"{name}, {unit}": n_bytes / size for name, n_bytes in self.memory.parts().items()},
            f"memory, {unit}": self.memory.total / size,
        }
        rows = {
            name: {**needed, "step, ms": 1000 * seconds / self.recipe.steps, "training, min": seconds / 60}
            for name, seconds in self.seconds.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").astype({"parameters": int, "trainable": int})

    def fits(self, memory: str | float) -> bool:
        """Whether the training fits into a card of `coto_lab.probes.memory.CARDS`, such as ``"T4"``, or into so many GiB.

        A tenth of the memory is left to the driver, to kernels and to gaps between tensors.

        Raises:
            ValueError: an unknown card, or a number that is not above 0.
        """
        return self.memory.total <= room_in(memory)[1]

    def advice(self, memory: str | float) -> str:
        """Whether the training fits into ``memory`` (see `fits`), in a sentence; and where it does not, what would."""
        name, room = room_in(memory)
        needed = f"This training needs {in_words(self.memory.total)}; {name} has room for {in_words(room)}"
        if self.memory.total <= room:
            return f"{needed}: it fits."
        ways = self.memory.ways_to_fit(room, self.recipe.batch_size)
        if not ways:
            return f"{needed}: it does not fit, even with all that saves memory. Take a smaller model, or a larger card."
        return f"{needed}: it does not fit. What would: {'; '.join(ways)}."

    def __repr__(self) -> str:
        lora, coto = (self.seconds[name] for name in ("LoRA", "CoTo"))
        return (
            f"{self.task}: {self.trainable:,} of {self.parameters:,} parameters train. {self.recipe.steps} steps with batches "
            f"of {self.recipe.batch_size} take about {_duration(lora)} with LoRA and {_duration(coto)} with CoTo on this "
            f"{self.device}, and {in_words(self.memory.total)} of memory."
        )

    def _repr_html_(self) -> str:
        words = [str(self)]
        if (here := device_memory()) is not None and not self.fits(here / GIB):
            words.append(self.advice(here / GIB))
        return self.table().to_html(float_format="{:.3g}".format) + "".join(f"<p>{html.escape(line)}</p>" for line in words)


def estimate(task: Task, recipe: Recipe, *, seconds: float = 10.0, progress: bool = False) -> Estimate:
    """What training an adapter for ``task`` will need on this device, with LoRA and with CoTo, before anything is trained.

    Parameters, weights, gradients and optimiser are counted. Activations and time are measured in a few real steps, on real
    batches, at a rate that moves nothing. A task with a ``skeleton`` (those of the hub have one) needs no weights for that:
    steps are measured with random ones, and where all blocks are in one list, on models of two and of four blocks, from which
    the whole is extrapolated. Any other task loads its base, and steps are measured on the whole. The data set and the
    tokenizer are needed in any case, since the time depends on the lengths of the examples.

    Weights that the task stores in 8 or 4 bits are counted so, but measured as they are before: the time of unpacking them is
    left out. The activations are those of the largest of twelve batches.

    Args:
        task: base model and data.
        recipe: how to train. Its schedule is CoTo's; one that keeps every adapter on is replaced by ``Linear()``.
        seconds: how long to measure steps; every kind of step is taken twice at least, however long that takes.
        progress: whether to show a bar.

    Raises:
        TypeError: ``task`` lacks a part of the protocol; ``recipe`` is no `Recipe`.
        ValueError: ``seconds`` is not above 0; a task or a base that cannot be trained.
        MemoryError: the device has no room even for a step of the shortest model.

    Source: the model of time is `Cost`; the rest is ours. ``benchmarks/estimate.py`` compares it with trainings.
    """
    check_task(task)
    check_recipe(recipe)
    if (seconds := finite_number("seconds", seconds)) <= 0:
        raise ValueError(f"seconds={seconds}: must be above 0.")
    if recipe.schedule == Constant():
        recipe = replace(recipe, schedule=Linear())
    skeleton = skeleton_of(task)
    base = fresh_base(task) if skeleton is None else skeleton()
    stack = stack_of(base, task.target_modules) if skeleton is not None else None
    checkpoints, whole = is_checkpointed(base), modules_to_save_of(task)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of gates: training says them again
        with OwnRandomNumbers(recipe.seed, default_device()).active():
            model = recipe.put_on(base, task.target_modules, whole)
        gates = attach_gates(model)
        short = stack is not None and len(stack) == len(gates) > _SHORT[-1]
        measured = _measured(task, recipe, _SHORT if short else (None,), seconds, progress)
    trainable, parameters = model.get_nb_trainable_parameters()
    activations, checkpointed = (_at(peaks, measured.blocks, len(gates)) for peaks in measured.activations)
    assert activations is not None
    memory = memory_of(
        model,
        activations=activations,
        checkpointed=checkpointed,
        moments=measured.moments,
        checkpoints=checkpoints,
        quantised=getattr(getattr(task, "source", None), "quantised", None),
        whole=whole,
    )
    masks = training_masks(gates.towers.numpy(), recipe.schedule, total_steps=recipe.steps, seed=recipe.seed, tilt=recipe.tilt)
    cost = _cost(measured, len(gates), towers_apart(model, gates.towers))
    return Estimate(task.name, recipe, _device_name(), parameters, trainable, memory, cost, masks)


def _measured(task: Task, recipe: Recipe, blocks: Sequence[int | None], seconds: float, progress: bool) -> MeasuredSteps:
    try:
        return measure_steps(task, recipe, blocks, seconds, progress=progress)
    except torch.OutOfMemoryError as error:
        size = f"{blocks[-1]} of its blocks" if blocks[-1] else "all of its blocks"
        raise MemoryError(
            f"{_device_name()} has no room for one step of task {task.name!r} with batch_size={recipe.batch_size}, even with "
            f"{size} and without the weights of the rest. Take a smaller batch_size, gradient checkpointing, weights in "
            "bfloat16, or shorter examples."
        ) from error


def _at(peaks: list[int] | None, blocks: tuple[int, ...], n_blocks: int) -> int | None:
    """Bytes at the peak of a step of the model with ``n_blocks``, on the line through those of the measured models."""
    if peaks is None:
        return None
    if len(peaks) == 1:
        return peaks[0]
    per_block = (peaks[-1] - peaks[0]) / (blocks[-1] - blocks[0])
    return round(peaks[-1] + per_block * (n_blocks - blocks[-1]))


def _cost(measured: MeasuredSteps, n_blocks: int, towers: Tensor | None = None) -> Cost:
    """The model of a step's time for the whole model, by non-negative least squares of the relative errors."""
    from sklearn.linear_model import LinearRegression

    none = torch.zeros(0, n_blocks, dtype=torch.bool), torch.zeros(0, dtype=torch.float64)
    if n_blocks == 1:
        return Cost(measured.seconds[0].item(), 0.0, 0.0, *none)
    columns = [0, 2, 3] if len(measured.blocks) == 1 else [0, 1, 2, 3]
    work = measured.work[:, columns] / measured.seconds[:, None]
    outside, *forward, backward, adapter = (
        LinearRegression(positive=True, fit_intercept=False).fit(work.numpy(), torch.ones(len(work)).numpy()).coef_.tolist()
    )
    return Cost(outside + n_blocks * sum(forward), backward, adapter, *none, towers)


def _device_name() -> str:
    device = default_device()
    return torch.cuda.get_device_name() if device.type == "cuda" else device.type.upper()


def _duration(seconds: float) -> str:
    """In words, such as ``12 seconds`` or ``1.5 hours``."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} seconds"
