"""What the notebooks quote from EVIDENCE.md in their text is what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from coto_lab.studies.statistics import paired_difference

ROOT = Path(__file__).parents[1]
EVIDENCE = json.loads((ROOT / "data" / "evidence" / "evidence.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "EVIDENCE.md").read_text(encoding="utf-8")
QUOTING = [
    "02_schedules.ipynb",
    "03_training_live.ipynb",
    "04_interpolation.ipynb",
    "05_pruning_and_stability.ipynb",
    "07_shapley.ipynb",
    "09_cost.ipynb",
    "10_a_language_model.ipynb",
]


def difference(scores: dict, a: str, b: str) -> str:
    found = paired_difference(scores[a]["values"], scores[b]["values"])
    return f"{found.mean:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"


# Not on the page, but made from the values of its seeds.
MORE = [
    difference(EVIDENCE["pruning"]["scores"][f"{third} third"], "stochastic depth", "CoTo")
    for third in ("low", "middle", "high")
]


def words(name: str) -> str:
    cells = json.loads((ROOT / "notebooks" / name).read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("name", QUOTING)
def test_every_difference_with_its_interval_is_in_the_evidence(name: str) -> None:
    quoted = re.findall(r"[+-]\d+\.\d+ \[[+-]\d+\.\d+, [+-]\d+\.\d+\]", words(name))
    assert quoted and [difference for difference in quoted if difference not in PAGE + "".join(MORE)] == []


def test_the_table_of_the_schedules_has_its_numbers_in_their_places() -> None:
    rows = {"sine": "CoTo sine", "exponential": "CoTo exponential", "stochastic depth": "stochastic depth"}
    for row, method in rows.items():
        cells = EVIDENCE["schedules"]["differences"][f"{method} - CoTo"]
        expected = [f"{d['mean']:+.1f} [{d['low']:+.1f}, {d['high']:+.1f}]" for d in cells.values()]
        assert list(cells) == ["all adapters", "fused 1:1", "every other block"]
        assert f"| {row} | {' | '.join(expected)} |" in words("02_schedules.ipynb")
