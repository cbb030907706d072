"""Scoring variants one after the other: the way that works for every PEFT method and every model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from coto_lab.adapters.adapter import Adapter
from coto_lab.gating.gates import attach_gates
from coto_lab.scoring.sheet import Sheet
from coto_lab.scoring.sites import module_mask
from coto_lab.tasks.task import to_device


class OneByOne:
    """A PEFT model of one configuration, into which adapters are written and whose gates are set.

    Args:
        base: makes a base model that may be changed.
        adapter: one of the adapters; its configuration is that of all.
        device: where to run.
        batch_size: examples in a forward pass.

    Attributes:
        gates: one per adapted module.

    Raises:
        ValueError: the adapter does not fit the base model.
    """

    def __init__(self, base: Callable[[], nn.Module], adapter: Adapter, *, device: torch.device, batch_size: int):
        self.model = adapter.attach(base()).to(device)
        self.gates = attach_gates(self.model, by="module")
        self.device, self.batch_size = device, batch_size

    @torch.no_grad()
    def score(self, adapters: Sequence[Adapter], masks: Sequence[Bool[Tensor, " _"] | None], split: str, sheet: Sheet) -> None:
        """Write what each adapter, with the gates of its mask open, makes of the split.

        Raises:
            ValueError: a mask or an adapter does not fit the model.
        """
        task, loaded = sheet.task, None
        checked = [module_mask(self.gates, mask) for mask in masks]
        for variant, (adapter, mask) in enumerate(zip(adapters, checked, strict=True)):
            if adapter is not loaded:
                adapter.copy_to(self.model)
                loaded = adapter
            with self.gates.only(mask):
                for start in range(0, sheet.examples, self.batch_size):
                    batch = to_device(task.batch(split, sheet.places[start : start + self.batch_size]), self.device)
                    sheet.write([[variant]], start, task.predict(self.model, batch), batch)
