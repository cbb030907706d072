"""A slider that scales the updates of finished adapters."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import torch

from coto_lab.figures.scale import scale_figure
from coto_lab.merging.merge import merge
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.sources import Source, adapter_of, check_sources
from coto_lab.scoring.variant import Variant
from coto_lab.tasks import Task
from coto_lab.widgets.evenly_spaced import evenly_spaced
from coto_lab.widgets.field import NumberField
from coto_lab.widgets.message import Message
from coto_lab.widgets.view import View
from coto_lab.widgets.words import verb

_STEP = 0.125
_FACTORS = torch.arange(17, dtype=torch.float64) * _STEP  # 0 is the base model, 1 the trained adapter, 2 twice its update


class ScaleExplorer(View):
    """Multiply the updates ΔW of finished runs by a factor, and see the accuracy and a map of one layer's update.

    Args:
        task: the task that the runs were trained on.
        runs: method name -> run (or adapter, or folder) of a plain LoRA.
        module: PEFT's name of the layer whose update is drawn, a key of ``adapter.factors()``.
        images: the largest number of test examples that are scored; they are evenly spaced over the test set.

    Attributes:
        factor: `NumberField` from 0 (the base model) to 2; 1 is the adapter as it was trained.

    Raises:
        TypeError: ``task`` lacks a part of the protocol, or something given as a run is not a run, adapter or folder.
        ValueError: there are no runs; a run is of another task or base, or of another method than LoRA; an adapter has no such
            module; ``images`` is below 1.
    """

    def __init__(self, task: Task, runs: Mapping[str, Source], module: str, images: int = 410):
        check_sources("runs", runs)
        self._scored = evenly_spaced(task, images)
        self._adapters = {name: adapter_of(task, source, f"runs[{name!r}]") for name, source in runs.items()}
        self._updates = {}
        for name, adapter in self._adapters.items():
            factors = adapter.apart()[0].factors()
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
        if self.factor.value not in self._known:  # a typed number between two positions of the slider
            self._score([self.factor.value])
        self._draw()
        self.say(self._sentence())

    def _score(self, factors: list[float]) -> None:
        from tqdm.auto import tqdm

        shares = {}
        for name, adapter in tqdm(self._adapters.items(), desc="scoring", disable=len(factors) == 1):
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

        base = next(iter(self._known[0.0].values()))  # all methods have the same base model
        return (
            f"{self.factor.value:g} · ΔW {verb(self._scored.task)} correctly: <b>{told(self.factor.value)}</b> of "
            f"{len(self._scored.examples)} {self._scored.words}. As trained: {told(1.0)}; the base model: {base:.1%}."
        )
