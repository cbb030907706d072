"""Each claim with what the legs say of it, and the sentences about where the legs disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coto_lab.studies.evidence.markdown import NOT_MEASURED, interval
from coto_lab.studies.evidence.records import Claim, Numbers
from coto_lab.studies.statistics import FAILS, HOLDS, OPEN, Difference

VERDICTS = (HOLDS, FAILS, OPEN)


def claim_rows(legs: Mapping[str, Sequence[Claim]], tasks: Mapping[str, Sequence[Claim]]) -> list[Numbers]:
    """The claims as JSON values, in the order of their topics.

    Args:
        legs: name of a leg -> its claims. A claim with the same words on two legs is one row.
        tasks: name of a task -> the claims judged on this task alone, of a leg with several tasks.
    """
    everything = [(leg, claim) for leg, claims in legs.items() for claim in claims]
    rows: dict[str, Numbers] = {}
    for leg, claim in sorted(everything, key=lambda item: item[1].topic):
        shared = ("topic", "text", "paper", "kind", "margin", "unit", "decimals")
        row = rows.setdefault(claim.text, {name: getattr(claim, name) for name in shared} | {"legs": {}, "tasks": {}})
        row["legs"][leg] = claim.to_json()
    for task, claims in tasks.items():
        for claim in claims:
            rows[claim.text]["tasks"][task] = claim.to_json()
    return list(rows.values())


def here(row: Numbers, found: Numbers) -> str:
    """The numbers that decide about a claim on a leg or a task: each part's difference and interval, or the counts."""
    unit = f" {row['unit']}" if row["unit"] not in ("", "points") else ""
    cells = [(f"{name}: " if name else "") + interval(part, row["decimals"]) + unit for name, part in found["parts"].items()]
    cells += [f"{name}: {fitting} of {total}" for name, (fitting, total) in found["counts"].items()]
    return "<br>".join(cells)


def cell(row: Numbers, found: Numbers | None) -> str:
    """The verdict, the numbers and the settings, for a table; a dash where a claim was not measured."""
    if found is None:
        return NOT_MEASURED
    grid = f"<br>({found['grid']})" if found["grid"] else ""
    return f"**{found['verdict']}**<br>{here(row, found)}{grid}"


def counted(rows: Sequence[Numbers], leg: str) -> str:
    """How many of a leg's claims have which verdict, as the end of a sentence."""
    verdicts = [row["legs"][leg]["verdict"] for row in rows if leg in row["legs"]]
    holds, fails, is_open = (verdicts.count(verdict) for verdict in VERDICTS)
    return f"of {len(verdicts)} claims {holds} hold, {fails} do not, and {is_open} are inconclusive"


def disagreements(rows: Sequence[Numbers]) -> tuple[list[str], list[str]]:
    """One sentence for each claim on which the legs have different verdicts.

    Returns:
        The claims that hold on one leg and do not hold on another; and those that differ only in that they are inconclusive on
        some legs.
    """
    opposite: list[str] = []
    unsure: list[str] = []
    for row in rows:
        verdicts = {found["verdict"] for found in row["legs"].values()}
        if len(verdicts) == 1:
            continue
        names = _differing(row, list(row["legs"].values()))
        said = [
            f"on the {leg} {_numbers(row, own, names)}, and the claim {_says(own['verdict'])}"
            for leg, own in row["legs"].items()
        ]
        (opposite if {HOLDS, FAILS} <= verdicts else unsure).append(f"{row['text']}: {'; '.join(said)}.")
    return opposite, unsure


def _differing(row: Numbers, legs: Sequence[Numbers]) -> list[str] | None:
    """The parts whose own verdicts differ, of a claim with the same parts on all legs; None for all parts."""
    if any(list(found["parts"]) != list(legs[0]["parts"]) for found in legs):
        return None
    differing = [
        name
        for name in legs[0]["parts"]
        if len({Difference(**found["parts"][name]).verdict(row["kind"], row["margin"]) for found in legs}) > 1
    ]
    return differing or None


def _numbers(row: Numbers, found: Numbers, names: list[str] | None) -> str:
    chosen = found if names is None else found | {"parts": {name: found["parts"][name] for name in names}}
    what, n = ("difference", len(chosen["parts"])) if chosen["parts"] else ("count", len(chosen["counts"]))
    return f"the {what}{' is' if n == 1 else 's are'} {here(row, chosen).replace('<br>', '; ')}"


def _says(verdict: str) -> str:
    return f"is {verdict}" if verdict == OPEN else verdict
