"""What data sets are measured by beside accuracy: F1 and correlations, of the answers of every variant."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from jaxtyping import Float64
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd


class Answers(Protocol):
    """What an `Evaluator` returns for a task of this folder, as far as it is needed here."""

    @property
    def names(self) -> tuple[str, ...]:
        """The V variants."""

    @property
    def values(self) -> Mapping[str, Float64[Tensor, "V N"]]:
        """``"prediction"`` and ``"label"`` of each variant and example: ``[V, N]``."""


def metric_table(scores: Answers, metrics: Sequence[str] = ("accuracy",)) -> pd.DataFrame:
    """One row per variant: its name, and each of the metrics over all examples that were scored.

    Args:
        scores: of a task whose ``measure`` returns ``"prediction"`` and ``"label"``, as the classifiers of this folder do.
        metrics: keys of `METRICS`.

    Raises:
        ValueError: an unknown metric; scores without predictions and labels; a metric of classes for numbers; F1 of other
            classes than 0 and 1.

    Source: scikit-learn's ``accuracy_score``, ``f1_score`` and ``matthews_corrcoef``, SciPy's ``pearsonr`` and ``spearmanr``.
    """
    import pandas as pd

    if isinstance(metrics, str) or (unknown := [metric for metric in metrics if metric not in METRICS]):
        named = metrics if isinstance(metrics, str) else unknown[0]
        raise ValueError(f"metrics has {named!r}: give a tuple of {', '.join(map(repr, METRICS))}.")
    if missing := [name for name in ("prediction", "label") if name not in scores.values]:
        raise ValueError(
            f"scores has no {missing[0]!r}, only {', '.join(map(repr, scores.values))}: the task's measure must return the "
            "predictions and the labels themselves, as SequenceClassification does."
        )
    if of_classes := [metric for metric in metrics if metric in _OF_CLASSES]:
        odd = [value for name in ("label", "prediction") for value in scores.values[name].unique().tolist() if value % 1]
        if odd:
            raise ValueError(
                f"metrics has {of_classes[0]!r}, which is of classes, and these are numbers such as {odd[0]}. For a regression "
                "give ('pearson', 'spearman')."
            )
    rows = zip(scores.values["prediction"].numpy(), scores.values["label"].numpy(), strict=True)
    columns = [[METRICS[metric](said, right) for metric in metrics] for said, right in rows]
    table = pd.DataFrame(columns, columns=list(metrics))
    table.insert(0, "name", scores.names)
    return table


def _accuracy(said: Any, right: Any) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(right, said))


def _f1(said: Any, right: Any) -> float:
    """Of class 1; 0 where nothing is said to be of it, and nothing is."""
    from sklearn.metrics import f1_score

    if not {*said, *right} <= {0, 1}:
        raise ValueError(f"F1 is of two classes, 0 and 1, and these are {sorted({*map(int, said), *map(int, right)})}.")
    return float(f1_score(right, said, zero_division=0))


def _matthews(said: Any, right: Any) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(right, said))


def _pearson(said: Any, right: Any) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, said, right)


def _spearman(said: Any, right: Any) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, said, right)


def _correlation(function: Any, said: Any, right: Any) -> float:
    """NaN, without a warning, where all predictions are the same: an adapter that is mostly closed may do that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(function(said, right).statistic)


_OF_CLASSES = ("accuracy", "f1", "matthews")
METRICS: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
"""Name of a metric -> its function of the predictions and the labels, both NumPy arrays ``[N]``."""
