"""A slider that turns finished adapters up and down."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import torch

from coto_lab.figures.scale import scale_figure
from coto_lab.merging.merge import merge
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.sources import Source, adapter_of
from coto_lab.scoring.variant import Variant
from coto_lab.tasks import Task
from coto_lab.widgets.evenly_spaced import evenly_spaced
from coto_lab.widgets.field import NumberField
from coto_lab.widgets.message import Message
from coto_lab.widgets.view import View
from coto_lab.widgets.words import verb

_STEP = 0.125
_FACTORS = torch.arange(17, dtype=torch.float64) * _STEP  # 0 is the base model, 1 the adapter as trained, 2 twice as much


class ScaleExplorer(View):
    """Multiply the updates ΔW of finished runs by a factor: accuracy, and a map of one layer's update.

    Args:
        task: the one that the runs were trained on.
        runs: method name -> run (or adapter, or folder) of a plain LoRA.
        module: PEFT's name of the layer whose update is drawn, a key of ``adapter.factors()``.
        images: how many test examples at most are scored; they are evenly spaced over the test set.

    Attributes:
        factor: `NumberField` from 0 (the base model) to 2; 1 is the adapter as it was trained.

    Raises:
        TypeError: ``task`` lacks a part of the protocol; what is given for a run is no run, adapter or folder.
        ValueError: no runs; a run of another task or base, or of another method than LoRA; no such module; ``images`` below 1.
    """

    def __init__(self, task: Task, runs: Mapping[str, Source], module: str, images: int = 410):
        if not runs:
            raise ValueError("runs is empty: give at least one.")
        self._scored = evenly_spaced(task, images)
        self._adapters = {name: adapter_of(task, source, f"runs[{name!r}]") for name, source in runs.items()}
        self._updates = {}
        for name, adapter in self._adapters.items():
            factors = adapter.factors()
            if module not in factors:
                raise ValueError(f"module={module!r}: no adapter there; there is {', '.join(list(factors)[:3])}, ...")
            a, b = factors[module]
            self._updates[name] = b @ a
        self._evaluator = Evaluator(self._scored.task)
        self._known: dict[float, dict[str, float]] = {}  # factor -> method name -> accuracy
        self._score(_FACTORS.tolist())
        self.factor = NumberField("factor", 1, 0, 2, _STEP, unit="· ΔW")
        super().__init__(self._draw(), [self.factor, Message([self.factor])], "coto-scale")
        self.factor.observe(self._moved, "value")
        self.say(self._sentence())

    def _moved(self, _: Any) -> None:
        if self.factor.value not in self._known:  # typed, between two places of the slider
            self._score([self.factor.value])
        self._draw()
        self.say(self._sentence())

    def _score(self, factors: list[float]) -> None:
        from tqdm.auto import tqdm

        shares = {}
        for name, adapter in tqdm(self._adapters.items(), desc="scoring", leave=False, disable=len(factors) == 1):
            variants = [Variant(merge([adapter], "ensemble", [factor])) for factor in factors]
            shares[name] = self._evaluator(variants).accuracy.tolist()
        for i, factor in enumerate(factors):
            self._known[factor] = {name: accuracy[i] for name, accuracy in shares.items()}

    def _draw(self) -> Any:
        curves = {name: torch.tensor([self._known[f][name] for f in _FACTORS.tolist()]) for name in self._adapters}
        at = self.factor.value
        return scale_figure(_FACTORS, curves, at, self._known[at], self._updates, getattr(self, "figure", None))

    def _sentence(self) -> str:
        def told(factor: float) -> str:
            return ", ".join(f"{html.escape(name)} {share:.1%}" for name, share in self._known[factor].items())

        base = next(iter(self._known[0.0].values()))  # the same for all
        return (
            f"{self.factor.value:g} · ΔW {verb(self._scored.task)} correctly: <b>{told(self.factor.value)}</b> of "
            f"{len(self._scored.examples)} {self._scored.words}. As trained: {told(1.0)}; the base model: {base:.1%}."
        )
