"""The sheet that scorers fill in, by hand: two rows that stand for three variants, in batches of two and one examples."""

from __future__ import annotations

import pytest
import torch
from tiny_tasks import CopyTask, SpeakingTask
from torch.nn.functional import cross_entropy

from coto_lab import Classification
from coto_lab.scoring.sheet import Sheet

LABELS = torch.tensor([0, 1, 1])
LOGITS = torch.tensor([[[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]])  # [rows, examples, classes]


@pytest.fixture
def task() -> Classification:
    return Classification("x", "", None, None, None, ("no", "yes"), ())


def filled(task: Classification, outputs: bool) -> Sheet:
    sheet = Sheet(task, 3, range(3), outputs)
    for start, end in ((0, 2), (2, 3)):
        labels = LABELS[start:end]
        prediction = LOGITS[:, start:end].flatten(0, 1)  # the rows one after the other
        sheet.write([[2], [0, 1]], start, prediction, {"labels": labels.repeat(2)})
    return sheet


def test_each_row_is_written_for_all_the_variants_that_it_stands_for(task: Classification) -> None:
    scores = filled(task, outputs=True).scores(("a", "b", "c"))
    assert scores.names == ("a", "b", "c")
    assert torch.equal(scores.logits, LOGITS[[1, 1, 0]]) and torch.equal(scores.labels, LABELS)
    assert scores.values["correct"].tolist() == [[0, 1, 1], [0, 1, 1], [1, 1, 0]]
    expected = torch.stack([cross_entropy(row, LABELS, reduction="none") for row in LOGITS[[1, 1, 0]]])
    torch.testing.assert_close(scores.values["loss"], expected.double())
    assert scores.values["loss"].dtype == torch.float64 and scores.logits.dtype == torch.float32


def test_logits_and_labels_are_kept_only_where_they_are_asked_for(task: Classification) -> None:
    scores = filled(task, outputs=False).scores(("a", "b", "c"))
    assert scores.outputs is None and scores.labels is None
    assert torch.equal(scores.values["loss"], filled(task, outputs=True).values["loss"])


def test_what_is_not_written_yet_is_no_number(task: Classification) -> None:
    sheet = Sheet(task, 2, range(3), True)
    sheet.write([[1]], 1, LOGITS[0, 1:2], {"labels": LABELS[1:2]})
    assert sheet.values["correct"].isnan().tolist() == [[True, True, True], [True, False, True]]


def letters(*answers: str) -> torch.Tensor:
    """Logits, ``[n, 5, 10]``, of a model that answers these three letters each to the prompts ``xx=``."""
    logits = torch.zeros(len(answers), 5, 10)
    for logit, answer in zip(logits, answers, strict=True):
        logit[range(2, 5), ["abcdefgh".index(letter) for letter in answer]] = 1.0
    return logits


def said(task: CopyTask, outputs: bool) -> object:
    sheet = Sheet(task, 3, range(3), outputs)
    for start, rows in ((0, ("abc", "bcd", "ddd", "eee")), (2, ("aaa", "hhh"))):
        targets = torch.tensor([[-100] * 3 + [0, 1, 2]]).repeat(len(rows), 1)
        sheet.write([[2], [0, 1]], start, letters(*rows), {"targets": targets})
    return sheet.scores(("a", "b", "c"))


def test_answers_as_text_are_written_for_all_the_variants_of_a_row() -> None:
    scores = said(SpeakingTask(), outputs=True)
    assert scores.said == (("ddd", "eee", "hhh"), ("ddd", "eee", "hhh"), ("abc", "bcd", "aaa"))
    assert scores.outputs is None and scores.labels is None
    assert scores.values["correct"].tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]
    assert said(SpeakingTask(), outputs=False).said is None


def test_a_task_with_classes_has_logits_alone(task: Classification) -> None:
    assert filled(task, outputs=True).scores(("a", "b", "c")).said is None
