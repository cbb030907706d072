"""The comparison of variants as a table: one row for each method of adaptation, with and without CoTo."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from coto_lab.adapters.methods.boft import BOFT
from coto_lab.adapters.methods.method import Method
from coto_lab.adapters.methods.oft import OFT
from coto_lab.adapters.methods.randlora import RandLoRA
from coto_lab.adapters.methods.vera import VeRA
from coto_lab.studies.statistics import Difference, paired_difference
from coto_lab.studies.variants import COTO, ENTRIES, PLAIN, SEEDS, WAYS, recipe_of

if TYPE_CHECKING:
    import pandas as pd

PAIRS = list(combinations(SEEDS, 2))
SCORES = {
    "alone": "alone",
    "pruned": "every other block",
    "fused": "fused",
    "ensemble": "ensemble",
}
"""Scores of the table, in % of test accuracy, and what reports call them."""

FACTORS, ONE_START, VECTORS, GENERATORS, UPDATES = "factors", "factors, one start", "vectors", "generators", "ΔW"
FUSIONS = {
    FACTORS: (
        "the factors are averaged, and ΔW is a product of them, so that cross terms appear, and each adapter's own update "
        "keeps a quarter of its size (an eighth in LoKr, which has three factors, and a sixteenth in LoHa, which has four)"
    ),
    ONE_START: "the factors are averaged, too, but all seeds start from one decomposition of the weight, and not from noise",
    VECTORS: "the random matrices are the same for every seed, and the trained vectors between them are averaged",
    GENERATORS: "the skew-symmetric matrices are averaged, from which the rotations are computed",
    UPDATES: "ΔW is linear in what is trained, so that the fusion is the ensemble",
}
"""What the fusion of two adapters averages, and what follows."""


def fusion_of(method: Method) -> str:
    """What the fusion of two of a method's adapters averages: a key of `FUSIONS`."""
    if method.is_linear:
        return UPDATES
    if method.rewrites_base:
        return ONE_START
    if isinstance(method, (VeRA, RandLoRA)):
        return VECTORS
    return GENERATORS if isinstance(method, (OFT, BOFT)) else FACTORS


def pairs_of(score: str) -> list[tuple[int, int]] | None:
    """The seeds of each value of a score: pairs where two adapters are merged; None where each seed has its own value."""
    if score not in SCORES:
        raise ValueError(f"score={score!r}: must be one of {', '.join(map(repr, SCORES))}.")
    return PAIRS if score in ("fused", "ensemble") else None


def gains(leg: dict[str, Any], score: str) -> dict[str, Difference]:
    """Method -> CoTo - plain, in points of test accuracy, each at its own best learning rate.

    Args:
        leg: of `coto_lab.studies.variants.table`, such as ``table()["legs"]["digits"]``.
        score: a key of `SCORES`.

    Raises:
        ValueError: ``score`` is unknown.
    """
    seeds = pairs_of(score)
    return {name: paired_difference(own[COTO][score], own[PLAIN][score], seeds) for name, own in leg["runs"].items()}


def table_of(leg: dict[str, Any]) -> pd.DataFrame:
    """One row for each method. All columns but "held equal" and "fusion of" are numbers, so that the table can be sorted.

    The columns are: what was "held equal" to LoRA, and the trained "parameters"; the best learning "rate, plain" and "rate,
    CoTo"; for each score in `SCORES`, such as "alone", test accuracy in % as mean and sample standard deviation ("alone,
    plain", "alone, plain, sd", and the same with "CoTo"), and the difference with its 95% interval ("alone, CoTo - plain",
    "alone, low", "alone, high"); "fusion of" (`FUSIONS`); "step", the time of a step over LoRA's; "saving, measured" and
    "saving, predicted" of CoTo, in % of the training time.

    Args:
        leg: as for `gains`.
    """
    import pandas as pd

    differences = {score: gains(leg, score) for score in SCORES}
    rows = {}
    for name, own in leg["runs"].items():
        cost = leg["cost"][name]
        row: dict[str, Any] = {"held equal": ENTRIES[name].at, "parameters": cost["parameters"]}
        row |= {f"rate, {way}": own[way]["lr"] for way in WAYS}
        for score, found in differences.items():
            for way in WAYS:
                row[f"{score}, {way}"], row[f"{score}, {way}, sd"] = _mean_and_deviation(own[way][score])
            row |= {
                f"{score}, CoTo - plain": found[name].mean,
                f"{score}, low": found[name].low,
                f"{score}, high": found[name].high,
            }
        row["fusion of"] = fusion_of(recipe_of("digits", name, PLAIN, 1e-3, 0).adapter_method)
        row["step"] = cost["step"]
        row |= {f"saving, {what}": 100 * cost[what] for what in ("measured", "predicted")}
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    import numpy as np

    return np.mean(values).item(), np.std(values, ddof=1).item()
