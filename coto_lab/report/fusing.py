"""How two or more adapters fuse."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations

from coto_lab.adapters.adapter import Adapter
from coto_lab.merging.merge import merge
from coto_lab.probes.geometry import Geometry, geometry
from coto_lab.probes.interpolation import Curve, interpolate
from coto_lab.report.plan import FEWEST
from coto_lab.report.remembering import Remembering
from coto_lab.report.subject import Subject
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.variant import Variant
from coto_lab.tasks.part import Part
from coto_lab.tasks.task import Task

_POINTS = 11  # of a curve
_MOST_PAIRS = 3  # that are drawn


@dataclass(frozen=True, eq=False)
class Fusing:
    """Scores of mixtures.

    Attributes:
        curves: pair -> scores on the line between the two, of the first few pairs that can be fused.
        merged: of all adapters with equal weights: ``"fuse"`` and ``"ensemble"``, those that there are; None if there is none.
        geometry: how far apart they are; None where that is not known.
        examples: on how many test examples.
        refused: why they cannot be fused; empty if they can.
    """

    curves: dict[str, Curve]
    merged: Scores | None
    geometry: Geometry | None
    examples: int
    refused: str = ""


def part_to_fuse(task: Task, adapters: int, pass_seconds: float, seconds: float | None) -> tuple[Part, int]:
    """The test examples on which mixtures are scored, and how many answers that takes.

    Args:
        task: with the test examples of the report.
        adapters: how many there are.
        pass_seconds: how long one variant takes on all examples.
        seconds: for all of this; None sets no limit.
    """
    size, step = task.size("test"), 1
    variants = min(_MOST_PAIRS, math.comb(adapters, 2)) * _POINTS + 2
    while seconds is not None and size // (2 * step) >= FEWEST and variants * pass_seconds / step > seconds:
        step *= 2
    part = Part(task, step)
    return part, variants * part.size("test")


def fuse_all(part: Part, subjects: Sequence[Subject], like: Remembering, moved: Callable[[int], None]) -> Fusing:
    """Score the lines between the adapters, the fusion of all, and their ensemble.

    Args:
        part: the test examples.
        subjects: at least two adapters.
        like: an evaluator on the same base model.
        moved: is told how many examples have been scored.
    """
    adapters = {subject.name: subject.adapter for subject in subjects}
    mixed, refused = [], ""
    try:
        mixed.append(Variant(merge(list(adapters.values()), "fuse"), name="fuse"))
    except ValueError as error:
        refused = _reason(error, list(adapters))
    with suppress(ValueError):  # only plain LoRA has an ensemble
        mixed.append(Variant(merge(list(adapters.values()), "ensemble"), name="ensemble"))
    pairs = [(a, b) for a, b in combinations(adapters, 2) if _fuse(adapters[a], adapters[b])][:_MOST_PAIRS]
    score = Remembering(part, subjects[0].adapter, like, moved=lambda variants: moved(variants * part.size("test")))
    curves = {f"{a} to {b}": interpolate(part, adapters[a], adapters[b], alphas=_POINTS, evaluator=score) for a, b in pairs}
    return Fusing(curves, score(mixed) if mixed else None, _geometry(subjects), part.size("test"), refused)


def _fuse(a: Adapter, b: Adapter) -> bool:
    try:
        merge([a, b], "fuse")
    except ValueError:
        return False
    return True


def _reason(error: ValueError, names: Sequence[str]) -> str:
    """Why `merge` refused, with the adapters' names, and without its advice to call it otherwise."""
    said = str(error).partition(" Use how=")[0]
    return re.sub(r"\badapter (\d+)", lambda found: names[int(found[1])], said)


def _geometry(subjects: Sequence[Subject]) -> Geometry | None:
    adapters = {subject.name: subject.adapter.apart()[0] for subject in subjects}
    for space in ("update", "factors"):
        try:
            return geometry(adapters, space)
        except ValueError:  # ΔW is no product; or the factors have different shapes
            continue
    return None
