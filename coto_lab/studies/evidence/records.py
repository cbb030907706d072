"""The results of a topic of the page: numbers, claims with their verdicts, and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from coto_lab.studies.gallery import SEEDS
from coto_lab.studies.statistics import FAILS, HOLDS, OPEN, Difference, paired_difference

PAIRS = list(combinations(SEEDS, 2))
TRIPLES = list(combinations(SEEDS, 3))
_DIGITS = 4  # digits after the point in evidence.json; verdicts follow from these rounded numbers

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """A claim, the paper's numbers for it, and the numbers measured on one leg (or on one task) that decide about it.

    Attributes:
        topic: number of the section.
        text: the claim, in the same words for each leg.
        paper: the numbers in the paper, with the table or figure; or a note that the paper does not report the claim.
        kind: ``"above"``, ``"below"``, ``"not below"``, ``"same"`` (`Difference.verdict`), or ``"count"``.
        parts: name -> difference; the claim holds if it holds for all parts. The name of a single part is "".
        counts: for ``"count"``: name -> (number of cases as claimed, number of all cases).
        margin: the smallest difference that matters.
        unit: unit of the differences.
        grid: the settings at which the claim was judged, where they are not those of the gallery or need more words.
        decimals: the number of digits after the point.
    """

    topic: int
    text: str
    paper: str
    kind: str
    parts: Mapping[str, Difference] = field(default_factory=dict)
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    margin: float = 0.0
    unit: str = "points"
    grid: str = ""
    decimals: int = 1

    @property
    def verdict(self) -> str:
        """The worst of the parts' verdicts."""
        found = {part.verdict(self.kind, self.margin) for part in self.parts.values()}
        found |= {HOLDS if fitting == total else FAILS for fitting, total in self.counts.values()}
        return FAILS if FAILS in found else OPEN if OPEN in found else HOLDS

    def to_json(self) -> Numbers:
        """What was measured, and the verdict, as JSON values."""
        return {
            "grid": self.grid,
            "parts": {name: asdict(part) for name, part in self.parts.items()},
            "counts": {name: list(counted) for name, counted in self.counts.items()},
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Section:
    """The measurements of a topic: JSON values, claims about these values, and figures by the names of their files."""

    numbers: Numbers
    claims: Sequence[Claim] = ()
    figures: Mapping[str, go.Figure] = field(default_factory=dict)


def summary(values: Sequence[float] | Tensor) -> Numbers:
    """Mean, sample standard deviation, number and the values themselves, rounded."""
    array = np.asarray(values, dtype=float)
    mean, deviation = array.mean().item(), array.std(ddof=1).item()
    rounded = [round(value, _DIGITS) for value in array.tolist()]
    return {"mean": round(mean, _DIGITS), "sd": round(deviation, _DIGITS), "n": len(array), "values": rounded}


def compare(a: Numbers, b: Numbers | float, seeds: Sequence[Sequence[int]] | None = None) -> Difference:
    """The rounded difference a - b of two summaries, or of a summary and a fixed number."""
    others = b["values"] if isinstance(b, dict) else [b] * a["n"]
    found = paired_difference(a["values"], others, seeds)
    mean, low, high = (round(end, _DIGITS) for end in (found.mean, found.low, found.high))
    return Difference(mean, low, high, found.n, found.level)


def against_lora(
    values: Mapping[str, Sequence[float] | Tensor], seeds: Sequence[Sequence[int]] | None = None
) -> dict[str, Numbers]:
    """Method -> summary, with ``"difference"`` to LoRA for the other methods."""
    found = {method: summary(own) for method, own in values.items()}
    for method in found.keys() - {"LoRA"}:
        found[method]["difference"] = asdict(compare(found[method], found["LoRA"], seeds))
    return found
