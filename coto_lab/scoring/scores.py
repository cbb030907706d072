"""Scores: what each variant makes of each example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Scores:
    """What the V variants score on the N examples of a split.

    Attributes:
        names: the variants' names.
        values: what the task measures, per example: name -> float64 ``[V, N]``; ``"loss"`` and ``"correct"`` are always there.
        outputs: the classes' logits, float32 ``[V, N, classes]``; None unless they were asked for, and for tasks without
            classes.
        labels: the right classes, int64 ``[N]``, where there are outputs.
        said: the answers of each variant to each example as text, ``[V][N]``; None unless outputs were asked for, and for tasks
            with classes.
    """

    names: tuple[str, ...]
    values: Mapping[str, Float64[Tensor, "V N"]]
    outputs: Float32[Tensor, "V N classes"] | None = None
    labels: Int64[Tensor, " N"] | None = None
    said: tuple[tuple[str, ...], ...] | None = None

    @property
    def accuracy(self) -> Float64[Tensor, " V"]:
        """Share of examples that are answered correctly: float64 ``[V]``."""
        return self.values["correct"].mean(-1)

    @property
    def loss(self) -> Float64[Tensor, " V"]:
        """Mean loss in nats: float64 ``[V]``."""
        return self.values["loss"].mean(-1)

    @property
    def logits(self) -> Float32[Tensor, "V N classes"]:
        """`outputs` where there are some: float32 ``[V, N, classes]``.

        Raises:
            ValueError: there are none.
        """
        if self.outputs is None:
            raise ValueError(
                "these scores hold no class logits. Ask for them by evaluator(variants, outputs=True), for a task with classes."
            )
        return self.outputs

    def take(self, places: Int64[Tensor, " v"]) -> Scores:
        """The scores of the variants at these places: int64 ``[v]``."""
        return Scores(
            tuple(self.names[i] for i in places.tolist()),
            {name: value[places] for name, value in self.values.items()},
            None if self.outputs is None else self.outputs[places],
            self.labels,
            None if self.said is None else tuple(self.said[i] for i in places.tolist()),
        )

    @classmethod
    def join(cls, parts: list[Scores]) -> Scores:
        """The scores of several calls on the same split as one."""
        outputs = [part.outputs for part in parts if part.outputs is not None]
        said = [part.said for part in parts if part.said is not None]
        return cls(
            tuple(name for part in parts for name in part.names),
            {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values},
            torch.cat(outputs) if len(outputs) == len(parts) else None,
            parts[0].labels,
            tuple(own for part in said for own in part) if len(said) == len(parts) else None,
        )

    def frame(self) -> pd.DataFrame:
        """One row per variant: name, accuracy, loss, and the mean of whatever else was measured."""
        import pandas as pd

        others = {name: value.mean(-1).numpy() for name, value in self.values.items() if name not in ("loss", "correct")}
        return pd.DataFrame({"name": self.names, "accuracy": self.accuracy.numpy(), "loss": self.loss.numpy()} | others)
