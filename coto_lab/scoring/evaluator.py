"""Variants in, scores out. A variant is an adapter state and the gates that are open; only an evaluator runs a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.rows import Rows
from coto_lab.gating.gates import Gates, attach_gates
from coto_lab.ground.device import default_device
from coto_lab.ground.randomness import OwnRandomNumbers
from coto_lab.scoring.chain import NotAChain
from coto_lab.scoring.tree import StackedScorer
from coto_lab.tasks import Task

if TYPE_CHECKING:
    import pandas as pd
    from peft import PeftModel


@dataclass(frozen=True, eq=False)
class Variant:
    """One thing to score.

    Attributes:
        adapter: the adapter state.
        mask: which gates are open, over the blocks (``BoolTensor [n_blocks]``) or over the adapted modules
            (``[n_modules]``); None opens all.
        name: what tables and figures call it.
    """

    adapter: Adapter
    mask: Tensor | None = None
    name: str = ""


@dataclass(frozen=True, eq=False)
class Scores:
    """What the V variants score on the N examples of a split.

    Attributes:
        names: the variants' names.
        logits: float32 ``[V, N, classes]``.
        labels: int64 ``[N]``.
    """

    names: tuple[str, ...]
    logits: Tensor
    labels: Tensor

    @property
    def accuracy(self) -> Tensor:
        """Share of examples whose highest logit is the right one: float64 ``[V]``."""
        return (self.logits.argmax(-1) == self.labels).double().mean(-1)

    @property
    def loss(self) -> Tensor:
        """Mean cross-entropy in nats: float64 ``[V]``."""
        labels = self.labels.expand(len(self.logits), -1)
        return F.cross_entropy(self.logits.double().mT, labels, reduction="none").mean(-1)

    def frame(self) -> pd.DataFrame:
        """One row per variant: name, accuracy, loss."""
        import pandas as pd

        return pd.DataFrame({"name": self.names, "accuracy": self.accuracy.numpy(), "loss": self.loss.numpy()})


class Evaluator:
    """Scores variants; the only part of the lab that runs a model on them.

    Plain LoRA adapters are scored together, as rows of one batch on the shared base, and variants that agree in their
    lower blocks share the computation of those (`coto_lab.scoring.tree`). Adapters of other methods, and models whose blocks do
    not form a chain, are scored one after the other; the scores are the same but for rounding.

    The models are kept, so that a second call does not build them again.

    Args:
        task: what to score on.
        device: where to run; None takes the accelerator if there is one.
        batch_size: examples of one variant in a forward pass.
        memory: bytes that the activations of variants scored together may take; None chooses by the device.
        together: False scores all variants one after the other.

    Raises:
        ValueError: ``batch_size`` below 1; later, ``memory`` too small for one variant.
    """

    def __init__(
        self,
        task: Task,
        *,
        device: torch.device | str | None = None,
        batch_size: int = 64,
        memory: int | None = None,
        together: bool = True,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: must be at least 1.")
        self.task = task
        self.device = torch.device(device or default_device())
        self.batch_size, self.memory, self.together = batch_size, memory, together
        self._config = ""
        self._model: PeftModel
        self._gates: Gates
        self._scorers: dict[frozenset[str], StackedScorer | None] = {}  # by the names of the factors

    def gates(self, adapter: Adapter) -> Gates:
        """The gates of the model that carries ``adapter``, one per adapted module; their ``blocks`` give the blocks."""
        config = json.dumps(adapter.config, sort_keys=True)
        if config != self._config:
            with OwnRandomNumbers(0, self.device).active():  # PEFT draws factors, which those of the adapter replace
                model = adapter.attach(self.task.load_base()).to(self.device)
            gates = attach_gates(model, by="module")
            self._config, self._model, self._gates = config, model, gates  # at the end: a failed build changes nothing
        return self._gates

    def __call__(self, variants: Sequence[Variant], *, split: str = "test") -> Scores:
        """Logits of every variant on the ``"test"`` or ``"train"`` split.

        Raises:
            ValueError: no variants; an unknown split; a mask or an adapter that does not fit the model; ``memory`` too small.
        """
        if not variants:
            raise ValueError("variants is empty: give at least one.")
        if split not in ("test", "train"):
            raise ValueError(f"split={split!r}: must be 'test' or 'train'.")
        data = self.task.test_batch if split == "test" else self.task.train_batch
        distinct = {id(variant.adapter): variant.adapter for variant in variants} if self.together else {}
        scorers = {key: self._scorer(adapter) for key, adapter in distinct.items()}
        groups: dict[StackedScorer | None, list[int]] = {}
        for i, variant in enumerate(variants):
            groups.setdefault(scorers.get(id(variant.adapter)), []).append(i)
        logits: dict[int, Tensor] = {}
        for scorer, members in groups.items():
            chosen = [variants[i] for i in members]
            if scorer is None:
                results = self._one_by_one(chosen, data)
            else:
                masks = torch.stack([module_mask(scorer.rows, variant.mask) for variant in chosen])
                results = scorer([variant.adapter for variant in chosen], masks, data)
            logits |= zip(members, results, strict=True)
        names = tuple(variant.name for variant in variants)
        return Scores(names, torch.stack([logits[i] for i in range(len(variants))]), data["labels"])

    def _scorer(self, adapter: Adapter) -> StackedScorer | None:
        """What scores adapters on these layers together; None where they have to be scored one by one."""
        try:
            layers = frozenset(adapter.factors())
        except ValueError:  # not plain LoRA
            return None
        if layers not in self._scorers:
            try:
                rows = Rows(self.task.load_base().to(self.device).eval(), adapter)
                self._scorers[layers] = StackedScorer(self.task, rows, batch_size=self.batch_size, memory=self.memory)
            except (TypeError, NotAChain):  # layers that are not linear; blocks that do not form a chain
                self._scorers[layers] = None
        return self._scorers[layers]

    @torch.inference_mode()
    def _one_by_one(self, variants: Sequence[Variant], data: dict[str, Tensor]) -> Tensor:
        loaded: Adapter | None = None
        logits = []
        for variant in variants:
            gates = self.gates(variant.adapter)
            if variant.adapter is not loaded:
                variant.adapter.copy_to(self._model)
                loaded = variant.adapter
            with gates.only(module_mask(gates, variant.mask)):
                for start in range(0, len(data["labels"]), self.batch_size):
                    batch = {name: column[start : start + self.batch_size].to(self.device) for name, column in data.items()}
                    logits.append(self.task.logits(self._model, batch).float().cpu())
        return torch.cat(logits).unflatten(0, (len(variants), -1))


class Sites(Protocol):
    """The adapted modules of a model, as far as masks go: `Gates` by module, or `Rows`."""

    blocks: tuple[str, ...]

    def __len__(self) -> int: ...


def module_mask(gates: Sites, mask: Tensor | None) -> Tensor:
    """A mask over modules, from one over modules or over blocks, or None for all open: ``BoolTensor [n_modules]``.

    Raises:
        ValueError: the mask has another type or length.
    """
    if mask is None:
        return torch.ones(len(gates), dtype=torch.bool)
    blocks = list(dict.fromkeys(gates.blocks))
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape not in ((len(gates),), (len(blocks),)):
        found = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask must be a BoolTensor [{len(blocks)}] (blocks) or [{len(gates)}] (modules), got {found}.")
    if len(mask) == len(gates):
        return mask
    return mask[[blocks.index(block) for block in gates.blocks]]
