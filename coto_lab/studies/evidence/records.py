"""What a topic of the page hands over: numbers, claims with their verdicts, and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import plotly.graph_objects as go

from coto_lab.studies.gallery import METHODS, SEEDS
from coto_lab.studies.statistics import FAILS, HOLDS, OPEN, Difference, paired_difference

PAIRS = list(combinations(SEEDS, 2))
TRIPLES = list(combinations(SEEDS, 3))
ONE_RATE = f"rate {METHODS['CoTo'].lr:g}"
_DIGITS = 4  # in evidence.json; verdicts are read off what is written there

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """A claim, what the paper reports, and what decides about it here.

    Attributes:
        topic: number of the section.
        text: the claim.
        paper: its numbers in the paper, with the table or figure; or that it is ours.
        kind: ``"above"``, ``"below"``, ``"not below"``, ``"same"`` (`Difference.verdict`), or ``"count"``.
        parts: name -> difference; the claim holds if it does for all of them. A lone part is called "".
        counts: for ``"count"``: name -> (how many are as claimed, of how many).
        margin: the smallest difference that matters.
        unit: of the differences.
        grid: at which settings it was judged; a claim says nothing of others.
        digits: after the point.
    """

    topic: int
    text: str
    paper: str
    kind: str
    parts: Mapping[str, Difference] = field(default_factory=dict)
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    margin: float = 0.0
    unit: str = "points"
    grid: str = ONE_RATE
    digits: int = 1

    @property
    def verdict(self) -> str:
        """The worst of the parts' verdicts."""
        found = {part.verdict(self.kind, self.margin) for part in self.parts.values()}
        found |= {HOLDS if fitting == total else FAILS for fitting, total in self.counts.values()}
        return FAILS if FAILS in found else OPEN if OPEN in found else HOLDS

    def to_json(self) -> Numbers:
        """The claim and its verdict as JSON values."""
        return asdict(self) | {"verdict": self.verdict}


@dataclass(frozen=True)
class Section:
    """What was measured of a topic: JSON values, the claims about them, and figures by the name of their file."""

    numbers: Numbers
    claims: Sequence[Claim] = ()
    figures: Mapping[str, go.Figure] = field(default_factory=dict)


def summary(values: Sequence[float]) -> Numbers:
    """Mean, sample standard deviation, number and the values themselves, rounded."""
    array = np.asarray(values, dtype=float)
    mean, deviation = array.mean().item(), array.std(ddof=1).item()
    rounded = [round(value, _DIGITS) for value in array.tolist()]
    return {"mean": round(mean, _DIGITS), "sd": round(deviation, _DIGITS), "n": len(array), "values": rounded}


def compare(a: Numbers, b: Numbers | float, seeds: Sequence[Sequence[int]] | None = None) -> Difference:
    """The difference a - b of two summaries, or of one and a fixed number, rounded."""
    others = b["values"] if isinstance(b, dict) else [b] * a["n"]
    found = paired_difference(a["values"], others, seeds)
    mean, low, high = (round(end, _DIGITS) for end in (found.mean, found.low, found.high))
    return Difference(mean, low, high, found.n, found.level)


def against_lora(values: Mapping[str, Sequence[float]], seeds: Sequence[Sequence[int]] | None = None) -> dict[str, Numbers]:
    """Method -> summary, with ``"difference"`` to LoRA for the other methods."""
    found = {method: summary(own) for method, own in values.items()}
    for method in found.keys() - {"LoRA"}:
        found[method]["difference"] = asdict(compare(found[method], found["LoRA"], seeds))
    return found
