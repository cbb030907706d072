"""Splits of data sets in folders and in memory."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from coto_lab.tasks.hub.splits import check_splits, name_of, read_splits

COLUMNS = {"text": ["a", "b", "c"], "label": [0, 1, 0]}


@pytest.fixture
def data() -> datasets.DatasetDict:
    rows = datasets.Dataset.from_dict(COLUMNS)
    return datasets.DatasetDict({"train": rows, "validation": rows.select([0, 2])})


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_a_folder_of_files(kind: str, data: datasets.DatasetDict, tmp_path: Path) -> None:
    for split, rows in data.items():
        getattr(rows, f"to_{kind}")(tmp_path / f"{split}.{kind}")
    found = read_splits(str(tmp_path), None, ("train", "validation"), ["text", "label"])
    assert found["train"].to_dict() == COLUMNS and found["test"].to_dict() == {"text": ["a", "c"], "label": [0, 0]}
    assert read_splits(tmp_path, None, ("validation", "train"), ["text"])["train"].to_dict() == found["test"].to_dict()


def test_one_that_is_there_already(data: datasets.DatasetDict) -> None:
    found = read_splits(data, None, ("validation", "train"), ["text"])
    assert (len(found["train"]), len(found["test"])) == (2, 3)


def test_what_is_missing_is_named(data: datasets.DatasetDict) -> None:
    with pytest.raises(
        ValueError, match=r"the data set has no split 'test'; it has 'train', 'validation'\. Name two in splits="
    ):
        read_splits(data, None, ("train", "test"), ["text"])
    with pytest.raises(ValueError, match=r"the split 'train' has no column 'sentence'; it has 'text', 'label'\."):
        read_splits(data, None, ("train", "validation"), ["text", "sentence"])
    empty = datasets.DatasetDict({"train": data["train"], "validation": data["train"].select([])})
    with pytest.raises(ValueError, match=r"the split 'validation' is empty\."):
        read_splits(empty, None, ("train", "validation"), ["text"])


def test_one_split_alone_and_no_data_set(data: datasets.DatasetDict) -> None:
    with pytest.raises(
        TypeError, match=r"data is a Dataset: give a name, a folder, or a DatasetDict with the splits \('train'"
    ):
        read_splits(data["train"], None, ("train", "test"), ["text"])
    with pytest.raises(TypeError, match=r"data is a list: give a name"):
        read_splits([1, 2], None, ("train", "test"), ["text"])


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the data set .* holds no data files\. Give a folder"):
        read_splits(str(tmp_path), None, ("train", "test"), ["text"])


@pytest.mark.parametrize("odd", ["ab", ("train",), ("train", "test", "test"), ()])
def test_splits_are_two_names(odd: object) -> None:
    with pytest.raises(ValueError, match=r"splits=.*: give two names, that of the split to train on and that to score on\."):
        check_splits(odd)
    check_splits(("train", "train"))


def test_a_task_on_a_folder_is_called_by_the_folder_however_its_path_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path)
    assert name_of("pets", "x") == name_of(tmp_path / "pets", "x") == name_of(f"{tmp_path}/pets/", "x") == "pets"
    assert name_of("nyu-mll/glue", "x") == "nyu-mll/glue" and name_of(datasets.DatasetDict(), "x") == "x"
