"""Steps on a tiny Llama whose optimiser has a memory, alone or as one of several processes that shard it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tiny_models import adapted
from torch import Tensor, nn

from coto_lab import Constant, CoTo, attach_gates
from coto_lab.gating.ranks import check_agreement
from coto_lab.gating.zero import keep_dropped_still

STEPS, BATCH = 8, 4
ROWS = torch.randint(32, (STEPS * BATCH, 6), generator=torch.Generator().manual_seed(0))


class Alone:
    """One process that trains, with the three calls that DeepSpeed's engine has."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer):
        self.model, self.optimizer = model, optimizer

    def __call__(self, **batch: Tensor) -> Any:
        return self.model(**batch)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The trained parameters, whole."""
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    return {name: getattr(p, "full_tensor", lambda p=p: p)().clone() for name, p in trained.items()}


def moved_blocks(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[bool]:
    """Of each block, whether a parameter has changed by a bit."""
    moved = [False] * 3
    for name, tensor in after.items():
        moved[int(name.split("layers.")[1][0])] |= not torch.equal(tensor, before[name])
    return moved


def train(
    share: slice = slice(None),
    shard: Callable[[nn.Module], object] = lambda model: None,
    start: Callable[[nn.Module, torch.optim.Optimizer], Any] = Alone,
    *,
    gates_first: bool = True,
) -> dict[str, Tensor]:
    """The weights after all steps; in each, the dropped blocks, and they alone, were seen to stay as they were.

    SGD has momentum and weight decay but no step count, so that ZeRO, which has one for all, gives the same weights.

    Args:
        share: which rows of a batch are this process's.
        shard: what is done to the model, after the gates are attached or, without ``gates_first``, before.
        start: makes the engine.
    """
    model = adapted().train()
    gates = attach_gates(model) if gates_first else None
    shard(model)
    gates = gates or attach_gates(model)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9, weight_decay=0.1)
    engine = start(model, optimizer)
    keep_dropped_still(engine, gates)
    coto = CoTo(gates, Constant(0.4), total_steps=STEPS, seed=1)
    check_agreement(coto)
    for step in range(STEPS):
        before = weights(model)
        rows = ROWS[step * BATCH : (step + 1) * BATCH][share]
        engine.backward(engine(input_ids=rows, labels=rows).loss)
        engine.step()
        assert moved_blocks(before, weights(model)) == coto.mask(step).tolist(), step
        coto.step()
    return weights(model)
