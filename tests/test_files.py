from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from coto_lab._files import data_path, new_folder, write_file


def test_data_lies_where_it_is_said_to() -> None:
    assert data_path("glyph-vit", "model.safetensors").is_file()
    with pytest.raises(FileNotFoundError, match="'glyph-vit/nothing' is neither in"):
        data_path("glyph-vit", "nothing")


def test_a_folder_appears_when_its_block_ends(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").write_text("text")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "file").read_text() == "text"
    assert os.listdir(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("old", ["nothing", "a file", "a folder"])
def test_an_exception_leaves_what_was_there(tmp_path: Path, old: str) -> None:
    path = tmp_path / "path"
    if old == "a file":
        path.write_text("old")
    if old == "a folder":
        path.mkdir()
        (path / "file").write_text("old")
    with pytest.raises(KeyboardInterrupt), new_folder(path, overwrite=True) as folder:
        (folder / "file").write_text("new")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ([] if old == "nothing" else ["path"])
    assert old == "nothing" or (path if old == "a file" else path / "file").read_text() == "old"


@pytest.mark.parametrize("old", ["a file", "a folder"])
def test_overwrite_replaces(tmp_path: Path, old: str) -> None:
    path = tmp_path / "path"
    path.write_text("old") if old == "a file" else path.mkdir()
    with pytest.raises(FileExistsError, match=f"path='{path}' exists"), new_folder(path):
        pytest.fail("the block must not run")
    with new_folder(path, overwrite=True) as folder:
        (folder / "new").touch()
    assert os.listdir(path) == ["new"] and os.listdir(tmp_path) == ["path"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_file(path, lambda fresh: fresh.write_text("first") and None)
    write_file(path, lambda fresh: fresh.write_text("second") and None)
    assert path.read_text() == "second"

    def fail(fresh: Path) -> None:
        fresh.write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_file(path, fail)
    assert path.read_text() == "second" and os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("parent", ["file", "file/folder"])
def test_errors_of_the_disk_name_the_path_and_the_room_left(tmp_path: Path, parent: str) -> None:
    (tmp_path / "file").write_text("old")
    path = tmp_path / parent / "x"
    message = rf"could not write '{path}': .*\d+ MB are free there.*Nothing was changed"
    with pytest.raises(OSError, match=message) as caught:
        write_file(path, lambda fresh: pytest.fail("there is no folder to write to"))
    assert type(caught.value) is OSError
    with pytest.raises(OSError, match=message) as caught, new_folder(path):
        pytest.fail("there is no folder to fill")
    assert type(caught.value) is OSError
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("failing", ["mkdtemp", "chmod", "rename"])
def test_errors_in_making_the_folder_itself_are_told_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not here")

    monkeypatch.setattr(tempfile if failing == "mkdtemp" else Path, failing, refuse)
    with pytest.raises(OSError, match=r"could not write .*: not here.*Nothing was changed"), new_folder(tmp_path / "x"):
        pass
    assert os.listdir(tmp_path) == []
