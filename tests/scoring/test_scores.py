"""Scores by hand: means, places and joins of a table of two variants and four examples."""

from __future__ import annotations

import pytest
import torch

from coto_lab import Scores

LOSS = torch.tensor([[1.0, 2.0, 3.0, 6.0], [0.0, 0.5, 0.0, 0.5]], dtype=torch.float64)
CORRECT = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 1]], dtype=torch.float64)
OUTPUTS = torch.arange(24.0).view(2, 4, 3)
LABELS = torch.tensor([0, 2, 1, 0])
SAID = (tuple("abcd"), tuple("efgh"))


def table(**others: object) -> Scores:
    return Scores(("a", "b"), {"loss": LOSS, "correct": CORRECT}, **others)


def test_accuracy_and_loss_are_means_over_the_examples() -> None:
    assert table().accuracy.tolist() == [0.25, 0.75] and table().loss.tolist() == [3.0, 0.25]


def test_a_frame_has_a_row_for_each_variant_and_a_column_for_whatever_else_was_measured() -> None:
    scores = Scores(("a", "b"), {"loss": LOSS, "correct": CORRECT, "edits": 4 * CORRECT})
    frame = scores.frame()
    assert list(frame.columns) == ["name", "accuracy", "loss", "edits"]
    assert frame.values.tolist() == [["a", 0.25, 3.0, 1.0], ["b", 0.75, 0.25, 3.0]]


def test_logits_are_there_where_outputs_are() -> None:
    assert table(outputs=OUTPUTS, labels=LABELS).logits is OUTPUTS
    with pytest.raises(ValueError, match=r"hold no class logits. Ask for them by evaluator\(variants, outputs=True\)"):
        _ = table().logits


@pytest.mark.parametrize("places", [[1, 0], [1], [0, 0, 1]], ids=str)
def test_take_chooses_and_orders_variants(places: list[int]) -> None:
    taken = table(outputs=OUTPUTS, labels=LABELS).take(torch.tensor(places))
    assert taken.names == tuple("ab"[i] for i in places)
    assert taken.values.keys() == {"loss", "correct"}
    assert torch.equal(taken.values["loss"], LOSS[places]) and torch.equal(taken.values["correct"], CORRECT[places])
    assert torch.equal(taken.logits, OUTPUTS[places]) and torch.equal(taken.labels, LABELS)
    assert table().take(torch.tensor(places)).outputs is None and table().take(torch.tensor(places)).said is None
    assert table(said=SAID).take(torch.tensor(places)).said == tuple(SAID[i] for i in places)


def test_join_puts_variants_one_after_the_other() -> None:
    whole = table(outputs=OUTPUTS, labels=LABELS)
    parts = [whole.take(torch.tensor([i])) for i in (1, 0)]
    joined = Scores.join(parts)
    assert joined.names == ("b", "a")
    assert torch.equal(joined.values["loss"], LOSS[[1, 0]]) and torch.equal(joined.logits, OUTPUTS[[1, 0]])
    assert torch.equal(joined.labels, LABELS)
    alone = Scores.join(parts[:1])
    assert alone.names == ("b",) and torch.equal(alone.values["loss"], LOSS[[1]]) and torch.equal(alone.labels, LABELS)
    without = Scores.join([table(), table()])
    assert without.outputs is None and without.labels is None and without.names == ("a", "b", "a", "b")
    assert without.said is None and Scores.join([table(said=SAID), table()]).said is None
    assert Scores.join([table(said=SAID), table(said=SAID[::-1])]).said == (*SAID, *SAID[::-1])


def test_scores_are_frozen_and_compared_by_identity() -> None:
    scores = table()
    assert scores == scores and scores != table()
    with pytest.raises(AttributeError):
        scores.names = ("c",)  # type: ignore[misc]
