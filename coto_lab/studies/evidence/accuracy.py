"""Topic 1: the accuracy of a single run."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from coto_lab.studies.evidence.lab import Lab
from coto_lab.studies.evidence.markdown import method_table
from coto_lab.studies.evidence.records import Claim, Numbers, Section, against_lora, compare
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.legs import Leg

MARGIN = 1.0  # a method counts as equal if it is less than this many points of accuracy behind


def values(lab: Lab) -> Values:
    """Test accuracy in %: method -> ``[seeds]``."""
    return {method: torch.tensor(lab.accuracy(method), dtype=torch.float64) for method in lab.leg.methods}


def judge(found: Values, leg: Leg) -> Section:
    """Numbers and claims of this topic; ``found`` holds the values of all topics."""
    scores = against_lora(found["accuracy"])
    papers = {
        "LoRA": "DTD 72.7 against 71.6, UCF101 87.2 against 86.2 (table r3); eleven data sets 83.5 against 83.0",
        "dropout": "DTD 72.7 against 72.0, UCF101 87.2 against 86.7 (table r3)",
    }
    claims = [
        Claim(
            topic=1,
            text=f"CoTo alone is as accurate as {other}, or better",
            paper=paper,
            kind="not below",
            margin=MARGIN,
            parts={"": compare(scores["CoTo"], scores[other])},
        )
        for other, paper in papers.items()
    ]
    return Section({"scores": scores}, claims)


def text(legs: Mapping[str, Numbers]) -> str:
    """The topic's section of the page, in Markdown."""
    return f"""## 1. A single run

The table has the test accuracy in % over five seeds, with every method at the same learning rate. The second line of a cell is
the difference to LoRA. The paper (table r3, DTD) reports LoRA 71.6, dropout 72.0, stochastic depth 71.4, CoTo 72.7.

{method_table({f"all adapters, {leg}": numbers["accuracy"]["scores"] for leg, numbers in legs.items()})}
"""
