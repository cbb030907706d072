"""Topics 7 and 8: the shape of the ramp, and training without a ramp (stochastic depth)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from coto_lab.studies.evidence.accuracy import MARGIN
from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import interval, on_each, spread, table
from coto_lab.studies.evidence.merging import HALF
from coto_lab.studies.evidence.records import PAIRS, Claim, Numbers, Section, compare, summary
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.legs import Leg
from coto_lab.studies.statistics import Difference

_RAMPS = "ramps from 0 to 1 over 3/4"
RAMPS = {"linear": "CoTo", "sine": "CoTo sine", "exponential": "CoTo exponential"}
LINEAR, SINE, EXPONENTIAL = RAMPS.values()
DEPTH = "stochastic depth"
ALONE, FUSED, HALVED = "all adapters", "fused 1:1", "every other block"


def values(lab: Lab) -> Values:
    """None of its own: this topic compares values of topics 1, 3 and 4."""
    return {}


def judge(found: Values, leg: Leg) -> Section:
    """Numbers and claims of this topic; ``found`` holds the values of all topics."""
    columns = {
        ALONE: found["accuracy"],
        FUSED: {method: 100 * accuracy[:, HALF] for method, accuracy in found["merging"]["accuracy"].items()},
        HALVED: found["pruning"]["patterns"]["every other"],
    }
    scores = {column: {method: summary(values) for method, values in own.items()} for column, own in columns.items()}

    def difference(column: str, a: str, b: str) -> Difference:
        return compare(scores[column][a], scores[column][b], PAIRS if column == FUSED else None)

    claims = [
        *(_claims_of_ramps(difference) if set(RAMPS.values()) <= scores[ALONE].keys() else ()),
        *[
            Claim(
                topic=8,
                text=f"CoTo is better than stochastic depth ({column})",
                grid="p = 1/2",
                paper=f"{paper} (table r3)",
                kind="above",
                parts={"": difference(column, LINEAR, DEPTH)},
            )
            for column, paper in (
                (ALONE, "DTD 72.7 against 71.4, UCF101 87.2 against 85.8"),
                (FUSED, "DTD 72.0 against 68.9, UCF101 86.7 against 83.9"),
                (HALVED, "DTD 71.1 against 70.1, UCF101 85.4 against 84.1"),
            )
        ],
    ]
    numbers = {
        f"{name} - {LINEAR}": {c: asdict(difference(c, name, LINEAR)) for c in scores}
        for name in (SINE, EXPONENTIAL, DEPTH)
        if name in scores[ALONE]
    }
    return Section({"differences": numbers}, claims)


def _claims_of_ramps(difference: Callable[[str, str, str], Difference]) -> list[Claim]:
    return [
        Claim(
            topic=7,
            text="Linear, sine and exponential ramps reach the same accuracy",
            grid=_RAMPS,
            paper="the same (figure r1)",
            kind="same",
            margin=MARGIN,
            parts={
                "sine - linear": difference(ALONE, SINE, LINEAR),
                "exponential - linear": difference(ALONE, EXPONENTIAL, LINEAR),
                "exponential - sine": difference(ALONE, EXPONENTIAL, SINE),
            },
        ),
        *[
            Claim(
                topic=7,
                text=f"The exponential ramp is best for {purpose} ({column})",
                grid=_RAMPS,
                paper="best of the three (figure r1)",
                kind="above",
                parts={
                    "exponential - linear": difference(column, EXPONENTIAL, LINEAR),
                    "exponential - sine": difference(column, EXPONENTIAL, SINE),
                },
            )
            for purpose, column in (("merging", FUSED), ("pruning", HALVED))
        ],
    ]


def _scores(numbers: Numbers) -> Numbers:
    """Column -> method -> summary."""
    return {
        ALONE: numbers["accuracy"]["scores"],
        FUSED: numbers["merging"]["scores"]["1:1"],
        HALVED: numbers["pruning"]["scores"]["every other"],
    }


def text(legs: Mapping[str, Numbers]) -> str:
    """The topics' two sections of the page, in Markdown."""

    def rows(methods: list[str]) -> Callable[[str, Numbers], str]:
        def part(leg: str, numbers: Numbers) -> str:
            scores, differences = _scores(numbers), numbers["schedules"]["differences"]
            cells = []
            for method in methods:
                if method not in scores[ALONE]:
                    continue
                own = differences.get(f"{method} - CoTo")
                columns = (spread(s[method]) + (f"<br>{interval(own[c])}" if own else "") for c, s in scores.items())
                cells.append([method, *columns])
            return table(["", *scores], cells)

        return part

    return f"""## 7. The shape of the ramp

The sine ramp opens the blocks early, the exponential ramp late. The table has the test accuracy in % over five seeds (fused:
ten pairs), and below it the difference to CoTo with its linear ramp. The paper (figure r1) reports equal accuracy for all
ramps, and the best merging and pruning for the exponential ramp. On the docstrings only the linear ramp was trained.

{on_each({leg: own for leg, own in legs.items() if SINE in own["accuracy"]["scores"]}, rows(list(RAMPS.values())))}

## 8. Stochastic depth: no ramp at all

Stochastic depth drops blocks with the same probability, one half, throughout the training. The table shows how CoTo's ramp
changes the accuracy of a single run, and of merged and pruned runs. Columns and differences are as in section 7.

{on_each(legs, rows(["CoTo", DEPTH, "LoRA"]))}
"""
