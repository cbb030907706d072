"""Classes: cross-entropy and accuracy, data that are read row by row, and examples for people."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from datasets import Dataset
from sklearn.metrics import log_loss
from tiny_tasks import language_task
from torch import nn

from coto_lab import Classification, Recipe, fit


def test_measures_are_those_of_sklearn(tiny_task: Classification) -> None:
    batch = tiny_task.batch("test", range(45))
    with torch.no_grad():
        prediction = tiny_task.predict(tiny_task.load_base().eval(), batch)
    values = tiny_task.measure(prediction, batch)
    assert torch.equal(values["correct"], prediction.argmax(1) == batch["labels"])
    expected = log_loss(batch["labels"], prediction.double().softmax(1), labels=range(3))
    assert values["loss"].mean().item() == pytest.approx(expected)
    torch.testing.assert_close(tiny_task.loss(prediction, batch).double(), values["loss"])


def test_a_batch_is_the_rows_at_these_places(tiny_task: Classification) -> None:
    places = torch.tensor([7, 0, 7])
    for split, data in (("train", tiny_task.train), ("test", tiny_task.test)):
        for given in (places, places.tolist()):
            batch = tiny_task.batch(split, given)
            for i, place in enumerate(places.tolist()):
                assert all(torch.equal(column[i], data[place][name]) for name, column in batch.items())


def test_with_a_collator_rows_are_read_when_they_are_needed() -> None:
    """Token lists of different lengths, which have no column as one tensor."""
    tokens = [[1 + (i * j) % 31 for j in range(1, 3 + i % 4)] for i in range(12)]
    data = Dataset.from_dict({"input_ids": tokens, "labels": [i % 3 for i in range(12)]}).with_format("torch")

    def collate(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        ids = nn.utils.rnn.pad_sequence([row["input_ids"] for row in rows], batch_first=True)
        return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.stack([row["labels"] for row in rows])}

    task = replace(language_task(), train=data, test=data, collate=collate)
    assert task.batch("train", [0, 1])["input_ids"].shape == (2, 3) and task.batch("train", [3])["input_ids"].shape == (1, 5)
    run = fit(task, Recipe(r=2, steps=3, batch_size=4), progress=False)
    assert len(run.history) == 3 and "train_batch" not in vars(task), "the split was never read as a whole"


def test_examples_are_images_where_there_are_pixels_and_text_elsewhere(tiny_task: Classification) -> None:
    image, other = tiny_task.show("test", [4, 5])
    assert torch.equal(image.image, tiny_task.test[4]["pixel_values"]) and image.text == ""
    assert [image.answer, other.answer] == [tiny_task.classes[tiny_task.test[i]["labels"]] for i in (4, 5)]
    (text,) = language_task().show("test", [2])
    assert text.image is None and text.text.split() == [str(token) for token in language_task().test[2]["input_ids"].tolist()]


def test_data_that_do_not_fit_are_refused_with_the_way_out(tiny_task: Classification) -> None:
    with pytest.raises(ValueError, match=r"give tuples of names, such as \('q_proj',\)"):
        replace(tiny_task, target_modules="q_proj")
    with pytest.raises(ValueError, match=r"train has the columns .*, but no column 'labels'"):
        replace(tiny_task, train=tiny_task.train.rename_column("labels", "label"))
    words = tiny_task.train.add_column("text", ["a"] * len(tiny_task.train))
    with pytest.raises(
        ValueError, match=r"the columns \['text'\] of the train data are no tensors of one shape\. Give collate="
    ):
        fit(replace(tiny_task, train=words), Recipe(steps=1, batch_size=4), progress=False)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, 7, 2], "label 7 and 3 classes: labels must be from 0 to 2"),
        ([0, -100, 1, 2], "label -100 and 3 classes"),
        ([0.0, 1.0, 2.0, 0.0], r"labels of task 'tiny' are torch.float32 \[4\]: .*int64 \[n\]"),
        ([[0], [1], [2], [0]], r"are torch.int64 \[4, 1\]"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tiny_task: Classification, labels: list[Any], said: str) -> None:
    data = Dataset.from_dict({"pixel_values": torch.zeros(4, 1, 8, 8).numpy(), "labels": labels}).with_format("torch")
    with pytest.raises(ValueError, match=said):
        replace(tiny_task, train=data).batch("train", range(4))


def test_a_collator_that_makes_no_dict_is_refused(tiny_task: Classification) -> None:
    with pytest.raises(ValueError, match="collate of task 'tiny' returned a list: return a dict"):
        replace(tiny_task, collate=list).batch("train", range(2))


def test_a_split_that_there_is_not(tiny_task: Classification) -> None:
    for call in (
        lambda: tiny_task.size("validation"),
        lambda: tiny_task.batch("Test", [0]),
        lambda: tiny_task.show("val", [0]),
    ):
        with pytest.raises(ValueError, match="must be 'test' or 'train'"):
            call()
