"""CoTo decides which adapters train at each optimiser step, as a pure function of (seed, step).

Source: "Come Together, But Not Right Now" (Zhuang et al., ICML 2025, arXiv:2506.05713): at optimisation step t
every block's gate is drawn from Bernoulli(p(t)), with p rising during training.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from coto_lab.gating.checkpointing import let_backward_stop
from coto_lab.gating.gates import Gates
from coto_lab.gating.schedules import Constant, Schedule, check_schedule
from coto_lab.ground.numbers import MAX_SEED, finite_number, whole_number

Towers = Sequence[int] | np.ndarray  # the tower of each gate


def draw_mask(gates: int | Towers, p: float | Float[np.ndarray, " n_gates"], seed: int, step: int) -> Bool[Tensor, " n_gates"]:
    """Draw the gates that are open at ``step``: ``BoolTensor [n_gates]``; in each tower at least one gate is open.

    In each tower the distribution is that of independent Bernoulli(p) gates, redrawn until one is open: with one p for all,
    P(a gate is open) = p / (1 - (1-p)^n); at p = 0, exactly one gate opens, chosen uniformly. The code needs no redrawing.
    It goes through the gates in order: if none before gate i is open, gate i opens with probability
    q_i = p_i / (1 - Π_{j≥i} (1-p_j)); after the first open gate, each gate j opens with p_j.

    The function is pure: it depends on the arguments alone (Philox, a counter-based generator: the seed is its key, the step
    its counter). So a resumed training and every rank of a distributed training draw the same gates, and the global random
    number generator is not used.

    Args:
        gates: how many gates there are, all in one tower; or the tower of each (`Gates.towers`), -1 for a gate outside of
            all towers.
        p: one probability for all gates, or ``[n_gates]``.
        seed, step: the seed of the training, and its optimiser step.

    Source: arXiv:2506.05713. That each *tower* has at least one open gate is our addition: a batch may reach only one of two
    towers.
    """
    n_gates, towers = _towers(gates)
    return torch.from_numpy(_open(_uniform(n_gates, seed, step), np.broadcast_to(p, n_gates), towers))


def _towers(gates: int | Towers) -> tuple[int, np.ndarray | None]:
    """How many gates there are, and the tower of each; the latter is None if all gates are in one tower."""
    if isinstance(gates, int):
        return gates, None
    towers = np.asarray(gates)
    return len(towers), towers if towers.any() else None


def _uniform(n_gates: int, seed: int, step: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, step, 0, 0])).random(n_gates)


def _open(uniform: np.ndarray, p: np.ndarray, towers: np.ndarray | None) -> np.ndarray:
    """Which gates these uniform numbers open, bool ``[..., n_gates]``; ``uniform`` and ``p`` have the same shape."""
    if towers is None:
        return _open_one_at_least(uniform, p)
    mask = uniform < p
    for tower in range(towers.max() + 1):
        members = towers == tower
        mask[..., members] = _open_one_at_least(uniform[..., members], p[..., members])
    return mask


def _open_one_at_least(uniform: np.ndarray, p: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0 at p = 1; 0 / 0 where p = 0 from i on
        none_from_here = np.cumsum(np.log1p(-p)[..., ::-1], axis=-1)[..., ::-1]  # log of Π_{j≥i} (1-p_j)
        first_opens = p / -np.expm1(none_from_here)
    left = np.arange(p.shape[-1], 0, -1)  # the number of gates from i to the last one
    first_opens = np.where(p.any(-1, keepdims=True), first_opens, 1 / left)  # in the limit p -> 0, one gate opens, uniformly
    first_opens[..., -1] = 1.0  # exactly 1; the formula gives 1 only up to rounding
    mask = uniform < p
    np.put_along_axis(mask, (uniform < first_opens).argmax(-1)[..., None], True, axis=-1)
    return mask


def expected_open(n_gates: int, p: float | Float[np.ndarray, "*T _"]) -> Float64[np.ndarray, "*T"]:
    """The exact mean of the number of open gates: Σp_i / (1 - Π(1-p_i)), or n·p / (1 - (1-p)^n) with one p for all.

    This is the mean for independent gates, n·p, divided by the probability that at least one of them is open, because
    `draw_mask` never shuts all gates. In the limit p -> 0 the mean is 1.

    Args:
        n_gates: how many gates there are.
        p: one probability for all gates, or ``[..., n_gates]``; ``[T, 1]`` is one probability for each of T steps.

    Returns:
        float64 ``[...]``, without the last dimension of ``p``.
    """
    p = np.broadcast_to(p, (*np.shape(p)[:-1], n_gates))
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0 at p = 1; 0 / 0 at p = 0
        expected = p.sum(-1) / -np.expm1(np.log1p(-p).sum(-1))
    return np.where(p.any(-1), expected, 1.0)


def tilted(p: float | Float[np.ndarray, "T 1"], n_gates: int, tilt: float) -> Float64[np.ndarray, "... {n_gates}"]:
    """One probability per gate, float64 ``[n_gates]``: p_i = p^(2^(tilt·z_i)), with z from -1 (lowest) to 1 (highest).

    At ``tilt=1`` (CoTo-H) the highest gate opens with p² and the lowest with √p; at ``tilt=-1`` (CoTo-L) the other way round;
    at 0 all gates open with p. At p = 0 and p = 1 a tilt changes nothing. A ``p`` of shape ``[T, 1]`` gives ``[T, n_gates]``.

    Source: arXiv:2506.05713, ablation of which blocks drop more. The paper gives no formula; this formula is ours.
    """
    return p**2.0 ** (tilt * np.linspace(-1, 1, n_gates))


def probabilities(schedule: Schedule, total_steps: int) -> Float64[np.ndarray, " {total_steps}"]:
    """p at every step of a training: float64 ``[total_steps]``."""
    return np.array([schedule(step / total_steps) for step in range(total_steps)])


def training_masks(
    gates: int | Towers, schedule: Schedule, *, total_steps: int, seed: int, tilt: float = 0.0
) -> Bool[Tensor, "{total_steps} n_gates"]:
    """The masks of all steps of a training, before it starts: ``BoolTensor [total_steps, n_gates]``, True = open.

    ``gates`` is the number of gates, or the tower of each, as in `draw_mask`.
    """
    n_gates, towers = _towers(gates)
    p = probabilities(schedule, total_steps)
    uniform = np.stack([_uniform(n_gates, seed, step) for step in range(total_steps)])
    return torch.from_numpy(_open(uniform, tilted(p[:, None], n_gates, tilt), towers))


class CoTo:
    """Drops adapters while a model trains, by a schedule and a seed.

    A CoTo is stepped like a learning-rate scheduler: creating it sets the gates of step 0, and each `step` sets those of the
    next step::

        gates = attach_gates(model)
        coto = CoTo(gates, Linear(), total_steps=800, seed=0)
        for batch in batches:
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            coto.step()

    A step is one of the optimiser: where gradients are accumulated, call `step` once per group. With accelerate, that is
    ``if accelerator.sync_gradients: coto.step()``; unlike a prepared scheduler's, this method does not look by itself.

    Under gradient checkpointing that is not reentrant, the embeddings do not ask for gradients from now on until
    ``gates.detach()``, so that the backward pass can stop at the lowest open block (`let_backward_stop`).

    Args:
        gates: the model's gates (`attach_gates`).
        schedule: activation probability over progress.
        total_steps: optimiser steps in the whole training, at least 1; progress at step t is t / total_steps.
        seed: a non-negative number; runs with different seeds draw different gates.
        tilt: which gates drop more: the high ones if it is above 0, the low ones if it is below 0 (`tilted`).

    Raises:
        ValueError: total_steps, seed or tilt is out of range, or ``schedule`` is not a schedule.

    Warns:
        UserWarning: a gate is the only one of the model, or of its tower; such a gate is always open.
    """

    def __init__(self, gates: Gates, schedule: Schedule, *, total_steps: int, seed: int = 0, tilt: float = 0.0):
        self.total_steps = whole_number("total_steps", total_steps, 1)
        self.seed = whole_number("seed", seed, 0, MAX_SEED)
        self.tilt = finite_number("tilt", tilt)
        self.gates = gates
        self.schedule = check_schedule(schedule)
        self._towers = towers = gates.towers.numpy()
        sizes = {tower: int((towers == tower).sum()) for tower in towers.tolist() if tower >= 0}
        alone = [name for name, tower in zip(gates.names, towers.tolist(), strict=True) if sizes.get(tower) == 1]
        if alone and schedule != Constant(1.0):
            warnings.warn(
                f"{', '.join(map(repr, alone))}: the only gate in its part of the model, so it is always open and CoTo changes "
                "nothing there. Attach gates with by='module', or put adapters on more layers.",
                UserWarning,
                stacklevel=2,
            )
        let_backward_stop(gates.model)
        self.go_to(0)

    def probability(self, step: int) -> float:
        """p at the 0-based ``step``; beyond the last step, the final value of the schedule."""
        return self.schedule(min(step / self.total_steps, 1.0))

    def mask(self, step: int) -> Bool[Tensor, " n_gates"]:
        """The gates open at ``step``: ``BoolTensor [n_gates]``, True = open."""
        p = tilted(self.probability(step), len(self.gates), self.tilt)
        return draw_mask(self._towers, p, self.seed, step)

    def masks(self) -> Bool[Tensor, "{self.total_steps} n_gates"]:
        """The masks of all steps of the training, also of those to come: ``BoolTensor [total_steps, n_gates]``."""
        return training_masks(self._towers, self.schedule, total_steps=self.total_steps, seed=self.seed, tilt=self.tilt)

    def step(self) -> Bool[Tensor, " n_gates"]:
        """Move on to the next optimiser step: draw its open gates, drop the others, return the mask."""
        return self.go_to(self.current_step + 1)

    def go_to(self, step: int) -> Bool[Tensor, " n_gates"]:
        """Set the gates of ``step`` (0-based), as when training resumes there; return the mask."""
        step = whole_number("step", step, 0)
        mask = self.mask(step)
        self.gates.train_with(mask)
        self.current_step = step
        return mask

    def state_dict(self) -> dict[str, Any]:
        """The values that a checkpoint must hold: the seed, the number of steps and the current step."""
        return {"seed": self.seed, "total_steps": self.total_steps, "step": self.current_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue at the step at which ``state`` was taken.

        Raises:
            ValueError: a value of ``state`` is missing or out of range; nothing was changed.
        """
        if missing := {"seed", "total_steps", "step"} - state.keys():
            raise ValueError(f"state lacks {sorted(missing)}; give what state_dict() returned.")
        total_steps = whole_number("total_steps", state["total_steps"], 1)
        seed = whole_number("seed", state["seed"], 0, MAX_SEED)
        step = whole_number("step", state["step"], 0)
        self.seed, self.total_steps = seed, total_steps
        self.go_to(step)
