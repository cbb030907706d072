"""The objects that all topics share: the task, the runs of the gallery and the evaluators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from coto_lab.adapters.adapter import Adapter
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.sites import module_mask
from coto_lab.scoring.variant import Variant
from coto_lab.studies.gallery import METHODS, SEEDS, load_runs, load_sweep, manifest, run_name
from coto_lab.tasks import Task, load_task
from coto_lab.training.run import Run

# If many coalitions are scored, only every 4th (or 8th) test image is used, and not the first ones, which are easier.
PART, SMALL_PART = 4, 8


class RememberingEvaluator(Evaluator):
    """An evaluator that scores no variant twice; Shapley values, stability and Jensen's inequality need the same masks."""

    def __init__(self, task: Task):
        super().__init__(task)
        self._known: dict[tuple[int, tuple[bool, ...]], tuple[Adapter, Scores]] = {}

    def __call__(self, variants: Sequence[Variant], *, split: str = "test", outputs: bool = False) -> Scores:
        """As `Evaluator`, but the scores always have class logits."""
        if split != "test":
            return super().__call__(variants, split=split, outputs=outputs)
        masks = [module_mask(self.sites(variant.adapter), variant.mask).tolist() for variant in variants]
        keys = [(id(variant.adapter), tuple(mask)) for variant, mask in zip(variants, masks, strict=True)]
        new = {key: variant for key, variant in zip(keys, variants, strict=True) if key not in self._known}
        if new:
            scores = super().__call__(list(new.values()), outputs=True)
            for place, (key, variant) in enumerate(new.items()):
                # The adapter is kept with its scores, so that no other adapter gets the same id.
                self._known[key] = (variant.adapter, scores.take(torch.tensor([place])))
        found = Scores.join([self._known[key][1] for key in keys])
        return replace(found, names=tuple(variant.name for variant in variants))


class Lab:
    """The gallery, which is read only once.

    Attributes:
        task, evaluator: the digits with all test images, and their evaluator.
        part, part_evaluator: the digits with every `PART`-th test image, and their evaluator, which remembers its scores.
        small_part: the digits with every `SMALL_PART`-th test image.
        base: test accuracy in % and loss in nats of the base model without an adapter.
    """

    def __init__(self) -> None:
        self.task = load_task("digits")
        self.evaluator = Evaluator(self.task)
        self.part = self.task.every(PART)
        self.part_evaluator = RememberingEvaluator(self.part)
        self.small_part = self.task.every(SMALL_PART)
        self._runs: dict[str, list[Run]] = {}
        self._recorded = manifest()["runs"]
        self.base = self._score_base()

    def _score_base(self) -> tuple[float, float]:
        adapter = self.adapters("LoRA")[0]
        none = torch.zeros(len(self.evaluator.sites(adapter)), dtype=torch.bool)
        scores = self.evaluator([Variant(adapter, none)])
        return 100 * scores.accuracy.item(), scores.loss.item()

    def runs(self, method: str) -> list[Run]:
        """All seeds of a method."""
        if method not in self._runs:
            self._runs[method] = load_runs(method)
        return self._runs[method]

    def adapters(self, method: str, lr: float | None = None) -> list[Adapter]:
        """The adapters of all seeds, at the method's own learning rate or at another rate of the sweep."""
        if lr is None or lr == METHODS[method].lr:
            return [run.adapter for run in self.runs(method)]
        return load_sweep(method, lr)

    def accuracy(self, method: str, lr: float | None = None) -> list[float]:
        """Test accuracy of all seeds in %, from the gallery's manifest."""
        rate = None if lr == METHODS[method].lr else lr
        return [100 * self._recorded[run_name(method, seed, rate)]["accuracy"] for seed in SEEDS]

    def loss(self, method: str) -> list[float]:
        """Test loss of all seeds in nats, from the gallery's manifest."""
        return [self._recorded[run_name(method, seed)]["loss"] for seed in SEEDS]

    def score(self, variants: Sequence[Adapter]) -> list[float]:
        """Test accuracy of adapters in %, on all test images."""
        return (100 * self.evaluator([Variant(adapter) for adapter in variants]).accuracy).tolist()
