"""Data sets that cannot be read, by the real library; test_source.py has the models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import datasets
import huggingface_hub
import pytest
import torch

from coto_lab.tasks.hub.errors import reading
from coto_lab.tasks.hub.splits import read_splits

SPLITS = ("train", "test")


def write(**files: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        folder.mkdir()
        for name, content in files.items():
            (folder / name.replace("_", ".")).write_text(content)

    return make


FOLDERS = {
    "missing": (lambda folder: None, ValueError, "there is no folder of this name here and nothing of this name on the hub"),
    "empty": (write(), ValueError, r"holds no data files\. Give a folder with parquet, csv or json files\.$"),
    "damaged": (write(train_parquet="x"), ValueError, r"cannot be read \(ArrowInvalid: Parquet file size is 1 bytes"),
    "cut": (write(train_jsonl='{"a": 1'), ValueError, r"cannot be read \(DatasetGenerationError: .*; .*: JSON parse error"),
    "a script": (
        write(data_py="raise SystemExit"),
        ValueError,
        "needs Python code that comes with it, and such code is never run",
    ),
}


@pytest.mark.parametrize(("make", "error", "said"), FOLDERS.values(), ids=FOLDERS)
def test_folders(
    make: Callable[[Path], None], error: type[Exception], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    make(tmp_path / "data")
    with pytest.raises(error, match=rf"the data set '{tmp_path / 'data'}'.*{said}"):
        read_splits(str(tmp_path / "data"), None, SPLITS, ["a"])


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        ConnectionError, match="the data set 'nobody/has-this' is no folder here, and the hub cannot be reached"
    ):
        read_splits("nobody/has-this", None, SPLITS, ["a"])


def test_a_package_that_is_missing_is_named() -> None:
    said = r"the tokenizer of model 'a/b' needs a package that is not installed: ModuleNotFoundError: No module named 'no_such'"
    with pytest.raises(ImportError, match=said), reading("a/b", "the tokenizer of model"):
        import no_such  # noqa: F401


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError, KeyboardInterrupt])
def test_what_is_no_fault_of_the_files_stays_as_it_is(error: type[BaseException]) -> None:
    with pytest.raises(error), reading("a/b", "the model"):
        raise error


def test_what_can_be_read_passes() -> None:
    with reading("a/b", "the model"):
        found = 3
    assert found == 3
