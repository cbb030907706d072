"""The nine tasks of GLUE, each with its columns, classes and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coto_lab.tasks.hub.sequence import SequenceClassification
from coto_lab.tasks.hub.source import Source

if TYPE_CHECKING:
    from datasets import DatasetDict

_HUB = "nyu-mll/glue"


@dataclass(frozen=True)
class GlueSet:
    """What is particular to one of the data sets.

    Attributes:
        text: the columns with a text or a pair.
        labels: names of the classes, in the order of their numbers; none for the regression.
        metrics: what the benchmark reports, for `coto_lab.tasks.hub.metrics.metric_table`.
        test: the split to score on; the labels of the test sets were never published.
    """

    text: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...] = ("accuracy",)
    test: str = "validation"


_PAIR = ("sentence1", "sentence2")
GLUE = {
    "cola": GlueSet(("sentence",), ("unacceptable", "acceptable"), ("matthews",)),
    "sst2": GlueSet(("sentence",), ("negative", "positive")),
    "mrpc": GlueSet(_PAIR, ("not_equivalent", "equivalent"), ("accuracy", "f1")),
    "qqp": GlueSet(("question1", "question2"), ("not_duplicate", "duplicate"), ("accuracy", "f1")),
    "stsb": GlueSet(_PAIR, (), ("pearson", "spearman")),
    "mnli": GlueSet(("premise", "hypothesis"), ("entailment", "neutral", "contradiction"), test="validation_matched"),
    "qnli": GlueSet(("question", "sentence"), ("entailment", "not_entailment")),
    "rte": GlueSet(_PAIR, ("entailment", "not_entailment")),
    "wnli": GlueSet(_PAIR, ("not_entailment", "entailment")),
}
"""Wang et al. 2018 (arXiv:1804.07461), table 1; names of columns and classes as the data set on the hub has them."""


def glue(
    name: str, model: str | Path | Source, data: str | Path | DatasetDict | None = None, **options: Any
) -> SequenceClassification:
    """A task of GLUE for a model.

    Args:
        name: a key of `GLUE`, such as ``"mrpc"``.
        model: a name on the hub, such as ``"microsoft/deberta-v3-base"``, a folder, or a `Source`.
        data: None takes the data set from the hub; else a folder or a ``DatasetDict`` with the same columns.
        options: other arguments of `SequenceClassification`, such as ``max_length=256``, or for MNLI
            ``splits=("train", "validation_mismatched")``.

    Raises:
        ValueError: no such task; and what `SequenceClassification` raises.
    """
    if name not in GLUE:
        raise ValueError(f"name={name!r}: GLUE has {', '.join(map(repr, GLUE))}.")
    about = GLUE[name]
    usual: dict[str, Any] = {
        "text": about.text,
        "labels": about.labels or None,
        "regression": not about.labels,
        "splits": ("train", about.test),
        "name": f"glue/{name}",
    }
    if data is None:
        data, usual["subset"] = _HUB, name
    return SequenceClassification(model, data, **usual | options)
