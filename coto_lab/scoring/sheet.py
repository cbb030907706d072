"""The sheet on which scorers write what they find, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float32, Float64, Int64, Shaped
from torch import Tensor

from coto_lab.scoring.scores import Scores
from coto_lab.tasks.check import measured, said
from coto_lab.tasks.task import Batch, Task


class Sheet:
    """An empty table of V variants and N examples, to be filled in.

    Args:
        task: what measures.
        variants: their number V.
        places: of the N examples, in their order.
        outputs: whether class logits are kept, too, or, of a task without classes, the answers as text.
    """

    def __init__(self, task: Task, variants: int, places: Sequence[int], outputs: bool):
        self.task, self.variants, self.places, self.examples = task, variants, places, len(places)
        self.values: dict[str, Float64[Tensor, "V N"]] = {}
        self.logits: Float32[Tensor, "V N classes"] | None
        self.labels: Int64[Tensor, " N"] | None
        logits, texts = outputs and bool(task.classes), outputs and not task.classes
        self.logits = torch.empty(variants, self.examples, len(task.classes)) if logits else None
        self.labels = torch.empty(self.examples, dtype=torch.long) if logits else None
        self.said = [[""] * self.examples for _ in range(variants)] if texts else None

    def write(self, variants: Sequence[Sequence[int]], start: int, prediction: Shaped[Tensor, "Rn ..."], batch: Batch) -> None:
        """Fill in what a prediction says of n examples from ``start`` on.

        Args:
            variants: for each of R rows the variants that it stands for.
            start: the number of the first example.
            prediction: of R rows one after the other, ``[R·n, ...]``.
            batch: R copies of the n examples.
        """
        found = measured(self.task, prediction, batch)
        if self.values and found.keys() != self.values.keys():
            raise ValueError(
                f"measure of task {self.task.name!r} returned {sorted(found)} for the examples from {start} on, and "
                f"{sorted(self.values)} for others: return the same names for every batch."
            )
        rows = len(variants)
        end = start + len(prediction) // rows
        for name, value in found.items():
            if name not in self.values:
                self.values[name] = torch.full((self.variants, self.examples), torch.nan, dtype=torch.float64)
            for row, members in zip(value.unflatten(0, (rows, -1)), variants, strict=True):
                self.values[name][members, start:end] = row
        if self.logits is not None and self.labels is not None:
            for row, members in zip(prediction.float().cpu().unflatten(0, (rows, -1)), variants, strict=True):
                self.logits[members, start:end] = row
            self.labels[start:end] = batch["labels"][: end - start].cpu()
        if self.said is not None and (texts := said(self.task, prediction, batch)) is not None:
            n = end - start
            for row, members in enumerate(variants):
                for variant in members:
                    self.said[variant][start:end] = texts[row * n : (row + 1) * n]

    def scores(self, names: tuple[str, ...]) -> Scores:
        """The filled table."""
        texts = None if self.said is None else tuple(map(tuple, self.said))
        return Scores(names, self.values, self.logits, self.labels, texts)
