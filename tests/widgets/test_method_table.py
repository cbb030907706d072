"""The table of methods, sorted as a reader sorts it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from coto_lab.notebook import place
from coto_lab.studies.variant_table import PAIRS, SCORES, table_of
from coto_lab.studies.variants import SEEDS
from coto_lab.widgets import MethodTable
from coto_lab.widgets.view import plain


def scores(level: float, spread: float = 1.0) -> dict:
    values = {score: PAIRS if score in ("fused", "ensemble") else SEEDS for score in SCORES}
    return {"lr": 0.01} | {score: [level + spread * (i % 3) for i in range(len(own))] for score, own in values.items()}


def leg(gains: dict[str, float]) -> dict:
    cost = {"parameters": 1000, "step": 1.0, "measured": 0.1, "predicted": 0.12}
    return {
        "runs": {
            name: {"plain": scores(80), "CoTo": scores(80 + gain, 2.0 if gain == 0 else 1.0)} for name, gain in gains.items()
        },
        "cost": {name: cost | {"step": 1 + i, "parameters": 1000 * (3 - i)} for i, name in enumerate(gains)},
    }


LEGS = {"digits": leg({"LoRA": 1.0, "DoRA": 3.0, "OFT": -2.0}), "strings": leg({"LoRA": -1.0, "DoRA": 0.0, "OFT": 5.0})}


@pytest.fixture
def shown() -> MethodTable:
    return MethodTable(LEGS)


def rows(shown: MethodTable) -> list[list[str]]:
    """The words of the HTML, row by row."""
    found = re.findall(r"<tr.*?</tr>", shown._shown.value)
    return [[plain(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in found]


def test_rows_hold_what_the_table_holds(shown: MethodTable) -> None:
    head, *body = rows(shown)
    assert head[:4] == ["method", "plain, %", "CoTo, %", "CoTo - plain ▾"] and head[-1] == "held equal"
    assert [row[0] for row in body] == list(shown.frame.index) == ["DoRA", "LoRA", "OFT"]
    of_dora = table_of(LEGS["digits"]).loc["DoRA"]
    low, high = of_dora["alone, low"], of_dora["alone, high"]
    assert body[0][1:5] == ["80.8 ± 0.8", "83.8 ± 0.8", f"+3.0 [{low:+.1f}, {high:+.1f}]", "2,000"]
    assert body[0][5:7] == ["2.00", "10.0% (12.0%)"]
    assert "<b>+3.0 [" in shown._shown.value


def test_every_control_changes_the_rows(shown: MethodTable) -> None:
    shown.lowest.value = True
    assert list(shown.frame.index) == ["OFT", "LoRA", "DoRA"]
    shown.sort.value = "trained"
    assert list(shown.frame.index) == ["OFT", "DoRA", "LoRA"]
    shown.lowest.value = False
    shown.leg.value = "strings"
    shown.sort.value = "CoTo - plain"
    assert list(shown.frame.index) == ["OFT", "DoRA", "LoRA"]
    assert rows(shown)[0][-1] == "held equal"
    shown.score.value = "fused"
    assert rows(shown)[0][-1] == "fusion of" and {row[-1] for row in rows(shown)[1:]} == {"factors", "generators"}


def test_the_sentence_counts_the_intervals(shown: MethodTable) -> None:
    said = "digits, alone: with CoTo 2 of 3 methods are better and 1 worse; for the others the interval contains 0. "
    assert plain(shown._text.value) == said + "First is DoRA."
    shown.leg.value = "strings"
    assert plain(shown._text.value).startswith("strings, alone: with CoTo 1 of 3 methods are better and 1 worse;")
    assert sum("<b>" in row for row in re.findall(r"<tr.*?</tr>", shown._shown.value)) == 2


@pytest.fixture
def headless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(place, "find_place", lambda: place.HEADLESS)
    yield


@pytest.mark.usefixtures("headless")
def test_without_widgets_the_table_is_shown_as_it_is(shown: MethodTable) -> None:
    shown.score.value = "pruned"
    bundle = shown._repr_mimebundle_()
    assert shown._shown.value in bundle["text/html"]
    assert bundle["text/plain"].startswith("digits, every other block: with CoTo")


def test_no_legs_are_refused() -> None:
    with pytest.raises(ValueError, match="legs is empty"):
        MethodTable({})
