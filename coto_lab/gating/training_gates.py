"""The gates of one training: on the model while it trains, set step by step, and counted for the logs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import torch
from torch import nn

from coto_lab.adapters.layers import adapter_parameters, adapters_to_gate, find_adapter_layers
from coto_lab.gating.coto import CoTo
from coto_lab.gating.gates import attach_gates, gates_of
from coto_lab.gating.grouping import By
from coto_lab.gating.schedules import Schedule


class TrainingGates:
    """What the callback of a trainer does to the model, whatever the trainer: made when training begins, detached at its end.

    Gates that are already on the model, because somebody inspected them or because an earlier training ended in an exception,
    are replaced.

    Args:
        model: a model with adapters; as for `attach_gates`, ``by`` says which layers share a gate.
        schedule: activation probability over progress.
        total_steps: optimiser steps in the whole training.
        seed: seed of the gates.
        step: the 0-based optimiser step that comes next; above 0 where a training is resumed.

    Attributes:
        coto: the object that draws the gates.

    Raises:
        ValueError: `attach_gates` or `CoTo` refuses an argument.
    """

    def __init__(self, model: nn.Module, by: By, schedule: Schedule, *, total_steps: int, seed: int, step: int = 0):
        with suppress(ValueError):  # usually the model carries no gates
            gates_of(model).detach()
        self._gates = attach_gates(model, by=by)
        self.coto = CoTo(self._gates, schedule, total_steps=total_steps, seed=seed)
        # The number of steps so far and of the gates opened in them; a resumed training counts its earlier steps too.
        self._steps = step
        self._opened = int(self.coto.masks()[:step].sum()) if step else 0
        self._last_step = -1
        self.go_to(step)

    @property
    def layers(self) -> dict[str, nn.Module]:
        """The gated layers by their name."""
        return dict(zip(self._gates.modules, self._gates.layers, strict=True))

    def __str__(self) -> str:
        coto = self.coto
        return f"CoTo: number of gates {len(self._gates)}, p(t) = {coto.schedule}, {coto.total_steps} steps, seed {coto.seed}."

    def go_to(self, step: int) -> None:
        """Set the gates of the 0-based optimiser ``step``; it may be set again, as for each micro-batch of a group."""
        mask = self.coto.go_to(step)
        if step != self._last_step:
            self._last_step, self._last_opened = step, int(mask.sum())
            self._steps += 1
            self._opened += self._last_opened

    def open_all(self) -> None:
        """Open all gates, as between two steps."""
        self._gates.train_with(torch.ones(len(self._gates), dtype=torch.bool))

    def logs(self) -> dict[str, float]:
        """What a log says of the last step.

        ``coto_p`` is its probability p, ``coto_open`` the number of gates that it opened, and ``coto_open_share`` the share
        of open gates over all steps so far.
        """
        return {
            "coto_p": self.coto.probability(self._last_step),
            "coto_open": self._last_opened,
            "coto_open_share": self._opened / (self._steps * len(self._gates)),
        }

    def detach(self) -> None:
        """Take the gates off; the model is as it was before the training."""
        self._gates.detach()


def begun(gates: TrainingGates | None) -> TrainingGates:
    """The gates that a callback made when training began; RuntimeError if it was not there yet."""
    if gates is None:
        raise RuntimeError(
            "this callback has no gates, because it was added to the trainer after the training had begun. Add it before."
        )
    return gates


def check_optimizers(optimizers: Iterable[object], model: nn.Module) -> None:
    """Raise ValueError where the optimisers train none of the adapters that get gates, as after the model was copied."""
    inner = [getattr(optimizer, "optimizer", optimizer) for optimizer in optimizers]  # accelerate's wrapper has one inside
    known = [optimizer for optimizer in inner if isinstance(optimizer, torch.optim.Optimizer)]
    if len(known) < len(inner):
        return  # a training loop that tells of none, or DeepSpeed, whose optimiser has copies of the parameters
    trained = {id(p) for optimizer in known for group in optimizer.param_groups for p in group["params"]}
    layers = find_adapter_layers(model)
    adapters = adapters_to_gate(layers).items()
    own = {id(module._parameters[key]) for name, names in adapters for module, key in adapter_parameters(layers[name], names)}
    if own and own.isdisjoint(trained):
        raise ValueError(
            f"the optimizer of the trainer holds none of the {len(own)} adapter parameters of its model "
            f"({type(model).__name__}), so they do not train. Make the optimizer from the parameters of the model that the "
            "trainer has, after the adapters were added."
        )
