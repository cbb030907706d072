"""The time of a training step in which some adapters are dropped, measured, and predicted from the masks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from coto_lab.gating.coto import CoTo
from coto_lab.gating.gates import Gates
from coto_lab.gating.schedules import Constant
from coto_lab.ground.numbers import whole_number
from coto_lab.tasks import Task
from coto_lab.training.history import History
from coto_lab.training.loop import Training
from coto_lab.training.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Cost:
    """A model of one optimiser step, in seconds: fixed + backward · (n_blocks - lowest open block) + adapter · (open blocks).

    A dropped block skips its adapter in the forward and the backward pass. The backward pass through the frozen base stops at
    the lowest open block, because nothing below that block needs a gradient. The model assumes that all blocks cost the same.

    Attributes:
        fixed: the time that every step takes: forward pass through the base, loss, data, optimiser.
        backward: the time of the backward pass through one block of the frozen base.
        adapter: the time of one block's adapters: forward pass, backward pass and update.
        masks: the masks that were measured, ``BoolTensor [M, n_blocks]``, True = open.
        seconds: the measured time of a step with each mask, float64 ``[M]``.
        towers: of each block, where each tower has a lowest open block of its own (`towers_apart`); None for one stack.

    Source: arXiv:2506.05713 reports the saving as training time; the model is ours.
    """

    fixed: float
    backward: float
    adapter: float
    masks: Bool[Tensor, "M n_blocks"]
    seconds: Float[Tensor, " M"]
    towers: Tensor | None = None

    @property
    def n_blocks(self) -> int:
        """How many blocks carry adapters."""
        return self.masks.shape[1]

    def step(self, masks: Bool[Tensor, "T {self.n_blocks}"]) -> Float[Tensor, " T"]:
        """Predicted seconds of each step: float64 ``[T]`` from ``BoolTensor [T, n_blocks]`` (`CoTo.masks`, `History.mask`).

        Raises:
            ValueError: ``masks`` has another type or shape.
        """
        return self.parts(masks).sum(1)

    def parts(self, masks: Bool[Tensor, "T {self.n_blocks}"]) -> Float[Tensor, "T 3"]:
        """The three parts of each step's predicted seconds: float64 ``[T, 3]`` with the columns fixed, backward and adapters.

        Raises:
            ValueError: ``masks`` has another type or shape.
        """
        constants = torch.tensor([self.fixed, self.backward, self.adapter], dtype=torch.float64)
        return work_of(_check_masks(masks, self.n_blocks), self.towers) * constants

    def saving(self, masks: Bool[Tensor, "T {self.n_blocks}"]) -> float:
        """Predicted share of the time that these steps save, compared with as many steps with every block open; 0.1 = 10%.

        Raises:
            ValueError: ``masks`` has another type or shape.
        """
        return 1 - (self.step(masks).mean() / self.step(torch.ones(1, self.n_blocks, dtype=torch.bool))[0]).item()

    def frame(self) -> pd.DataFrame:
        """One row per measured mask: how many blocks are open and how many backward reaches; measured and predicted seconds."""
        import pandas as pd

        work = work_of(self.masks, self.towers).long().numpy()
        columns = {"open": work[:, 2], "backward": work[:, 1]}
        return pd.DataFrame({**columns, "measured": self.seconds.numpy(), "predicted": self.step(self.masks).numpy()})


def towers_apart(model: nn.Module, towers: Tensor) -> Tensor | None:
    """The tower of each block, if the towers of ``model`` meet in nothing but the loss, as the two of CLIP do; None otherwise.

    Elsewhere one tower feeds another, as an encoder its decoder: the gradient of the lower one comes through all of the upper
    one, and they count as one stack.

    Args:
        model: such models are known by the scale of their logits.
        towers: of each block (`Gates.towers`), int64 ``[n_blocks]``.
    """
    meets_in_loss = any(name.rpartition(".")[2] == "logit_scale" for name, _ in model.named_parameters())
    return towers if meets_in_loss and len(towers.unique()) > 1 else None


def work_of(masks: Bool[Tensor, "T n_blocks"], towers: Tensor | None = None) -> Float[Tensor, "T 3"]:
    """The amounts by which the three constants of `Cost` are multiplied: float64 ``[T, 3]``."""
    towers = torch.zeros(masks.shape[1]) if towers is None else towers
    stacks = [masks[:, towers == tower] for tower in towers.unique()]
    reached = torch.cat([stack.int().cummax(1).values for stack in stacks], 1)  # the lowest open block and all above it
    return torch.stack([torch.ones(len(masks)), reached.sum(1), masks.sum(1)], dim=1).double()


def spared(masks: Bool[Tensor, "T n_blocks"], towers: Tensor | None = None) -> tuple[float, float]:
    """The exact shares of the work that these steps save, compared with as many steps with every block open; 0.1 = 10%.

    Args:
        masks: ``BoolTensor [T, n_blocks]``, True = open.
        towers: as in `Cost`.

    Returns:
        The share of the adapters' work that is saved, and the share of the backward passes through blocks of the base: the
        blocks below the lowest open block are saved.

    Raises:
        ValueError: ``masks`` has another type or shape.
    """
    _, backward, adapter = (work_of(_check_masks(masks), towers).mean(0) / masks.shape[1]).tolist()
    return 1 - adapter, 1 - backward


def _check_masks(masks: Tensor, n_blocks: int | None = None) -> Tensor:
    fits = isinstance(masks, Tensor) and masks.dtype == torch.bool and masks.dim() == 2 and len(masks) > 0
    if not fits or (n_blocks is not None and masks.shape[1] != n_blocks):
        found = f"{masks.dtype} {list(masks.shape)}" if isinstance(masks, Tensor) else type(masks).__name__
        raise ValueError(f"masks must be a BoolTensor [T, {n_blocks or 'n_blocks'}] with a row per step, got {found}.")
    return masks


def fit_cost(masks: Bool[Tensor, "M n_blocks"], seconds: Float[Tensor, " M"], towers: Tensor | None = None) -> Cost:
    """The model that fits measured steps best, by non-negative least squares.

    Args:
        masks: which blocks were open, ``BoolTensor [M, n_blocks]``.
        seconds: the measured time of a step with each mask, ``[M]``.
        towers: as in `Cost`.

    Raises:
        ValueError: ``masks`` has another type or shape, ``seconds`` does not have one number per mask, or the masks do not
            determine the three constants.
    """
    from sklearn.linear_model import LinearRegression

    work = work_of(_check_masks(masks), towers)
    if seconds.shape != (len(masks),):
        raise ValueError(f"seconds has shape {list(seconds.shape)}: give one number for each of the {len(masks)} masks.")
    if torch.linalg.matrix_rank(work) < 3:
        raise ValueError(
            "masks do not determine the three constants: use masks with different numbers of open blocks and, for the same "
            "number, with different lowest open blocks, as designed_masks(n_blocks) does. A model with one block has nothing "
            "to save."
        )
    fitted = LinearRegression(positive=True, fit_intercept=False).fit(work.numpy(), seconds.double().numpy())
    fixed, backward, adapter = fitted.coef_.tolist()
    return Cost(fixed, backward, adapter, masks, seconds.double(), towers)


def designed_masks(n_blocks: int, levels: int = 6) -> Bool[Tensor, "M {n_blocks}"]:
    """A few masks that determine the constants of `Cost`: ``BoolTensor [M, n_blocks]``.

    There are two masks for each of up to ``levels`` blocks, which are evenly spread from the lowest to the highest: one mask
    opens this block alone, the other opens this block and all blocks above it.
    """
    lowest = torch.linspace(0, n_blocks - 1, min(n_blocks, levels)).round().long()
    block = torch.arange(n_blocks)
    both = torch.cat([block == lowest[:, None], block >= lowest[:, None]])
    return torch.unique(both, dim=0)  # for the highest block the two masks are the same


class GivenMasks(CoTo):
    """Uses given masks, step by step and over and over, instead of drawing them."""

    def __init__(self, gates: Gates, masks: Tensor):
        self._given = masks
        super().__init__(gates, Constant(), total_steps=len(masks))

    def mask(self, step: int) -> Tensor:
        """The one whose turn it is."""
        return self._given[step % len(self._given)]


def measure_cost(task: Task, recipe: Recipe, steps: int = 300, seed: int = 0, *, progress: bool = False) -> Cost:
    """Time real training steps with designed masks, and fit the model to the medians.

    The masks take turns, in a new order every round, so that noise of the machine affects all masks alike. The first round is
    a warm-up.

    Args:
        task: the task to train on.
        recipe: how to train; the recipe's schedule, steps and seed do not matter.
        steps: optimiser steps to take; as many whole rounds are run as fit.
        seed: decides the order and the training.
        progress: whether to show a progress bar.

    Raises:
        ValueError: ``steps`` is less than two rounds need, or the model has only one block.
        FloatingPointError: the loss is no longer finite; try a lower learning rate.
    """
    from tqdm.auto import trange

    training = Training(task, replace(recipe, schedule=Constant(), steps=whole_number("steps", steps, 1), seed=seed))
    masks = designed_masks(len(training.gates))
    rounds = steps // len(masks)
    if rounds < 2:
        raise ValueError(f"steps={steps}: give at least {2 * len(masks)}, two rounds of the {len(masks)} masks.")
    rng = np.random.default_rng(seed)
    order = torch.from_numpy(np.stack([rng.permutation(len(masks)) for _ in range(rounds)]))  # [rounds, M]
    training.coto = GivenMasks(training.gates, masks[order.flatten()])
    turns = trange(order.numel(), disable=not progress, unit="step")
    timed = torch.tensor([timed_step(training) for _ in turns], dtype=torch.float64).reshape(order.shape)
    of_mask = torch.empty_like(timed).scatter_(1, order, timed)  # column m: the steps with mask m
    return fit_cost(masks, of_mask[1:].quantile(0.5, dim=0), towers_apart(training.model, training.gates.towers))


def timed_step(training: Training) -> float:
    """Seconds of the training's next step, to the end of what it started on an accelerator."""
    started = time.perf_counter()
    training.step()
    if training.accelerator.device.type != "cpu":
        torch.accelerator.synchronize()  # otherwise the update would still be running
    return time.perf_counter() - started


def train_in_turns(task: Task, recipes: Mapping[str, Recipe], *, progress: bool = False) -> dict[str, History]:
    """Train by several recipes, one step each in turn, so that the same noise affects the `History.seconds` of all.

    Args:
        task: the task to train on.
        recipes: name -> recipe, all with the same number of steps. Every turn begins with another recipe.
        progress: whether to show a progress bar.

    Raises:
        ValueError: there are no recipes, or they have different numbers of steps.
    """
    from tqdm.auto import trange

    steps = {recipe.steps for recipe in recipes.values()}
    if len(steps) != 1:
        raise ValueError(f"recipes must be at least one, and all of the same number of steps, got steps={sorted(steps)}.")
    trainings = {name: Training(task, recipe) for name, recipe in recipes.items()}
    names = list(trainings)
    for step in trange(steps.pop(), disable=not progress, unit="step of each"):
        first = step % len(names)
        for name in names[first:] + names[:first]:
            trainings[name].step()
    return {name: training.history() for name, training in trainings.items()}


def saving_from_history(coto_history: History, lora_history: History) -> float:
    """Measured share of the time that a training saved against another, 0.1 = 10%: 1 - Σ seconds / Σ seconds.

    Compare only trainings that took turns (`train_in_turns`): at different times, other work of the machine makes a larger
    difference than the gates. Short interruptions still count here; `steady_saving` leaves them out.

    Raises:
        ValueError: the histories have different lengths, or are empty.
    """
    _check_lengths(coto_history, lora_history)
    return 1 - (coto_history.seconds.sum() / lora_history.seconds.sum()).item()


def steady_saving(coto_history: History, lora_history: History) -> float:
    """As `saving_from_history`, but without the effect of the machine's pauses and changes of speed.

    Each step's time is divided by the time of the LoRA step in the same turn, so a machine that becomes slower does not change
    the result. Of all steps with the same work (equal numbers of open blocks and of blocks in the backward pass) the median is
    used.

    Args:
        coto_history: the history of the training that drops adapters.
        lora_history: the history of the training that took turns with it (`train_in_turns`), with every block open in every
            step.

    Raises:
        ValueError: the histories have different lengths or are empty, or ``lora_history`` has dropped blocks.
    """
    _check_lengths(coto_history, lora_history)
    if not lora_history.mask.all():
        raise ValueError("lora_history has dropped blocks: give the history of plain LoRA, with every block open.")
    share = coto_history.seconds / lora_history.seconds
    kinds, kind, count = work_of(coto_history.mask).unique(dim=0, return_inverse=True, return_counts=True)
    typical = torch.stack([share[kind == k].quantile(0.5) for k in range(len(kinds))])
    return 1 - (typical * count).sum().item() / len(share)


def _check_lengths(coto_history: History, lora_history: History) -> None:
    if len(coto_history) != len(lora_history) or not len(lora_history):
        raise ValueError(
            f"histories of {len(coto_history)} and {len(lora_history)} steps: give two histories of the same length."
        )
