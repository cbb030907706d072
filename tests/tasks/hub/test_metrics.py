"""Metrics against numbers computed by hand, and scikit-learn and SciPy themselves."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from scipy import stats
from sklearn import metrics as sklearn_metrics

from coto_lab.tasks.hub.metrics import METRICS, metric_table

LABEL = torch.tensor([1, 1, 1, 0, 0, 0, 0, 1])
SAID = torch.tensor([1, 1, 0, 0, 0, 1, 0, 0])  # 2 true positives, 1 false one, 3 true negatives, 2 false ones


def scores(*said: torch.Tensor, label: torch.Tensor = LABEL) -> SimpleNamespace:
    """As an evaluator returns them, as far as metrics look."""
    values = {"prediction": torch.stack(said).double(), "label": label.double().expand(len(said), -1)}
    return SimpleNamespace(names=tuple(f"variant {i}" for i in range(len(said))), values=values)


def test_classes_by_hand() -> None:
    table = metric_table(scores(SAID, LABEL), ("accuracy", "f1", "matthews"))
    assert list(table.columns) == ["name", "accuracy", "f1", "matthews"] and table.name.tolist() == ["variant 0", "variant 1"]
    f1, matthews = 2 * 2 / (2 * 2 + 1 + 2), (2 * 3 - 1 * 2) / math.sqrt(3 * 4 * 4 * 5)
    assert table.iloc[0, 1:].tolist() == pytest.approx([5 / 8, f1, matthews])
    assert table.iloc[1, 1:].tolist() == [1, 1, 1]


def test_numbers_by_hand_and_by_scipy() -> None:
    label, said = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([0.0, 1.0, 4.0, 3.0])
    row = metric_table(scores(said, label=label), ("pearson", "spearman")).iloc[0]
    assert row.pearson == pytest.approx(6 / math.sqrt(5 * 10))  # covariance 6/4, variances 5/4 and 10/4
    assert row.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert row.pearson == stats.pearsonr(said.double(), label.double()).statistic
    assert row.spearman == stats.spearmanr(said.double(), label.double()).statistic


def test_several_classes() -> None:
    label, said = torch.tensor([0, 1, 2, 2, 1]), torch.tensor([0, 2, 2, 2, 1])
    row = metric_table(scores(said, label=label), ("accuracy", "matthews")).iloc[0]
    assert row.accuracy == 0.8 and row.matthews == sklearn_metrics.matthews_corrcoef(label, said)
    with pytest.raises(ValueError, match=r"F1 is of two classes, 0 and 1, and these are \[0, 1, 2\]"):
        metric_table(scores(said, label=label), ("f1",))


def test_the_same_answer_everywhere() -> None:
    """An adapter that is mostly closed may give it; no metric warns."""
    row = metric_table(scores(torch.zeros(8)), tuple(METRICS)).iloc[0]
    assert (row.accuracy, row.f1, row.matthews) == (0.5, 0, 0)
    assert math.isnan(row.pearson) and math.isnan(row.spearman)


@pytest.mark.parametrize(
    ("metrics", "said"), [(("auc",), "metrics has 'auc': give a tuple of 'accuracy', 'f1'"), ("f1", "metrics has 'f1': give a")]
)
def test_unknown_metrics(metrics: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        metric_table(scores(SAID), metrics)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews"])
def test_metrics_of_classes_are_not_of_numbers(metric: str) -> None:
    said = rf"metrics has '{metric}', which is of classes, and these are numbers such as 0\.25\. For a regression"
    with pytest.raises(ValueError, match=said):
        metric_table(scores(torch.tensor([0.25, 2.0]), label=torch.tensor([1.0, 2.0])), ("pearson", metric))


def test_scores_without_predictions() -> None:
    with pytest.raises(ValueError, match=r"scores has no 'prediction', only 'loss': the task's measure must return"):
        metric_table(SimpleNamespace(names=("a",), values={"loss": torch.zeros(1, 2)}))
