"""The objects that all topics share: a task, its runs in the gallery, and the evaluators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from coto_lab.adapters.adapter import Adapter
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.sites import module_mask
from coto_lab.scoring.variant import Variant
from coto_lab.studies.gallery import SEEDS, load_adapters, load_runs, load_sweep, manifest, run_name
from coto_lab.studies.legs import DIGITS, Leg
from coto_lab.tasks import Task, load_task
from coto_lab.training.run import Run

# If many coalitions are scored, only every 4th (or 8th) test example is used, and not the first ones: of the digits, the
# first are easier.
PART, SMALL_PART = 4, 8


class RememberingEvaluator(Evaluator):
    """An evaluator that scores no variant twice; Shapley values, stability and Jensen's inequality need the same masks."""

    def __init__(self, task: Task):
        super().__init__(task)
        self._known: dict[tuple[int, tuple[bool, ...]], tuple[Adapter, Scores]] = {}

    def __call__(
        self,
        variants: Sequence[Variant],
        *,
        split: str = "test",
        examples: Sequence[int] | None = None,
        outputs: bool = False,
    ) -> Scores:
        """As `Evaluator`, but the scores of a task with classes always have class logits."""
        if split != "test" or examples is not None:
            return super().__call__(variants, split=split, examples=examples, outputs=outputs)
        masks = [module_mask(self.sites(variant.adapter), variant.mask).tolist() for variant in variants]
        keys = [(id(variant.adapter), tuple(mask)) for variant, mask in zip(variants, masks, strict=True)]
        new = {key: variant for key, variant in zip(keys, variants, strict=True) if key not in self._known}
        if new:
            scores = super().__call__(list(new.values()), outputs=bool(self.task.classes))
            for place, (key, variant) in enumerate(new.items()):
                # The adapter is kept with its scores, so that no other adapter gets the same id.
                self._known[key] = (variant.adapter, scores.take(torch.tensor([place])))
        found = Scores.join([self._known[key][1] for key in keys])
        return replace(found, names=tuple(variant.name for variant in variants))


class Lab:
    """One task of a leg and its part of the gallery, which is read only once.

    Attributes:
        leg: the leg.
        task, evaluator: the task with all test examples, and their evaluator.
        part, part_evaluator: the task with every `PART`-th test example, and their evaluator, which remembers its scores.
        small_part: the task with every `SMALL_PART`-th test example.
        base: test accuracy in % and loss in nats of the base model without an adapter.
    """

    def __init__(self, leg: Leg = DIGITS, task: str = DIGITS.tasks[0]) -> None:
        self.leg = leg
        self.task: Task = load_task(task)
        self.evaluator = Evaluator(self.task)
        self.part = self.task.every(PART)
        self.part_evaluator = RememberingEvaluator(self.part)
        self.small_part = self.task.every(SMALL_PART)
        self._runs: dict[str, list[Run]] = {}
        self._adapters: dict[str, list[Adapter]] = {}
        self._recorded = manifest()["runs"]
        self.base = self._score_base()

    def _score_base(self) -> tuple[float, float]:
        adapter = self.adapters("LoRA")[0]
        none = torch.zeros(len(self.evaluator.sites(adapter)), dtype=torch.bool)
        scores = self.evaluator([Variant(adapter, none)])
        return 100 * scores.accuracy.item(), scores.loss.item()

    def runs(self, method: str) -> list[Run]:
        """All seeds of a method on the digits; of the strings the gallery has only the adapters."""
        if method not in self._runs:
            self._runs[method] = load_runs(method)
        return self._runs[method]

    def adapters(self, method: str, lr: float | None = None) -> list[Adapter]:
        """The adapters of all seeds, at the method's own learning rate or, on the digits, at another rate of their sweep."""
        if lr is not None and lr != self.leg.methods[method].lr:
            return load_sweep(method, lr)
        if method not in self._adapters:
            self._adapters[method] = load_adapters(method, self.task.name)
        return self._adapters[method]

    def recorded(self, method: str, lr: float | None = None) -> list[dict[str, Any]]:
        """What the gallery's manifest says of all seeds of a method."""
        rate = None if lr == self.leg.methods[method].lr else lr
        return [self._recorded[run_name(method, seed, rate, self.task.name)] for seed in SEEDS]

    def accuracy(self, method: str, lr: float | None = None) -> list[float]:
        """Test accuracy of all seeds in %, from the gallery's manifest."""
        return [100 * own["accuracy"] for own in self.recorded(method, lr)]

    def loss(self, method: str) -> list[float]:
        """Test loss of all seeds in nats, from the gallery's manifest."""
        return [own["loss"] for own in self.recorded(method)]

    def score(self, variants: Sequence[Adapter]) -> list[float]:
        """Test accuracy of adapters in %, on all test examples."""
        return (100 * self.evaluator([Variant(adapter) for adapter in variants]).accuracy).tolist()
