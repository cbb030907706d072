"""Section 16 of EVIDENCE.md: verdicts by hand, and what ships says what the table says."""

from __future__ import annotations

import json
from pathlib import Path

from coto_lab.studies.evidence.content_style import judge, text
from coto_lab.studies.gallery import evidence
from coto_lab.studies.glyph_diffusion import RULES, table

ROOT = Path(__file__).parents[2]
STEPS = [-0.2, -0.1, 0.0, 0.1, 0.2]


def scores(lora: float, coto: float) -> dict[str, dict[str, list[float]]]:
    """Five seeds around a mean, the same for all measures."""
    means = {"LoRA": lora, "CoTo": coto}
    return {way: {key: [mean + step for step in STEPS] for key in ("content", "style", "both")} for way, mean in means.items()}


OWN = {
    "lr": {"LoRA": 0.01, "CoTo": 0.03},
    "loss": {"content": {"base": 0.3, "LoRA": STEPS, "CoTo": STEPS}},
    "scores": {
        "new": {
            "base": {"content": 1.0, "style": 2.0, "both": 0.5},
            "sum": scores(20, 10),
            "zip": scores(3, 5),
            "ensemble": scores(4, 4),
        }
    },
}


def test_verdicts_are_whether_coto_is_better_in_both() -> None:
    found = judge(OWN)
    assert {name: own["both"]["verdict"] for name, own in found["rows"].items()} == {
        "sum": "does not hold",
        "zip": "holds",
        "ensemble": "inconclusive",
    }
    assert found["rows"]["sum"]["content"]["difference"]["mean"] == -10
    said = text(found)
    assert "| the base | 1.0 | 2.0 | 0.5 |  |  |" in said
    assert "-10.0 [-10.0, -10.0] | does not hold |" in said and "LoRA 0.01, CoTo 0.03" in said


def test_the_numbers_are_those_of_the_table() -> None:
    assert json.loads(json.dumps(judge(table()))) == evidence()["content_style"]
    assert set(RULES) < set(evidence()["content_style"]["rows"])
    assert "## 16. Content and style" in (ROOT / "EVIDENCE.md").read_text(encoding="utf-8")
