from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coto_lab.ground.files import data_path, new_folder, write_file


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


@pytest.mark.parametrize("old", ["nothing", "a folder"])
def test_an_exception_leaves_what_was_there(tmp_path: Path, old: str) -> None:
    path = tmp_path / "path"
    if old == "a folder":
        path.mkdir()
        (path / "file").write_text("old")
    with pytest.raises(KeyboardInterrupt), new_folder(path, overwrite=True) as folder:
        (folder / "file").write_text("new")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ([] if old == "nothing" else ["path"])
    assert old == "nothing" or (path / "file").read_text() == "old"
    assert old == "nothing" or os.listdir(path) == ["file"]


def a_folder(path: Path) -> dict[str, str]:
    """Fill a folder with ``a``, ``b`` and what is not to be replaced; return the texts."""
    (path / "sub").mkdir(parents=True)
    texts = {"a": "old", "b": "old", "sub/notes": "mine", "thesis": "mine"}
    for name, text in texts.items():
        (path / name).write_text(text)
    (path / "thesis").chmod(0o400)
    return texts


def texts_in(path: Path) -> dict[str, str]:
    return {str(file.relative_to(path)): file.read_text() for file in path.rglob("*") if file.is_file()}


def write_new(path: Path) -> None:
    """Replace ``a`` and ``b`` and add ``c``."""
    with new_folder(path, overwrite=True) as folder:
        for name in "abc":
            (folder / name).write_text("new")


@pytest.mark.parametrize("link", [False, True])
def test_overwrite_replaces_files_of_the_same_names_only(tmp_path: Path, link: bool) -> None:
    path = tmp_path / "path"
    before = a_folder(tmp_path / "target" if link else path)
    if link:
        path.symlink_to("target")
    message = rf"path='{path}' exists; choose another path, or .*All others stay"
    with pytest.raises(FileExistsError, match=message), new_folder(path):
        pytest.fail("the block must not run")
    assert texts_in(path) == before
    write_new(path)
    assert texts_in(path) == before | dict.fromkeys("abc", "new")
    assert path.is_symlink() == link and sorted(os.listdir(tmp_path)) == (["path", "target"] if link else ["path"])


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    with new_folder(tmp_path) as folder:
        (folder / "a").write_text("new")
    assert texts_in(tmp_path) == {"a": "new"}


def test_a_link_to_nothing_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    write_new(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and texts_in(tmp_path / "target") == dict.fromkeys("abc", "new")


def test_a_file_is_never_replaced_by_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "path"
    path.write_text("old")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match=rf"path='{path}' is a file"), new_folder(path, overwrite=overwrite):
            pytest.fail("the block must not run")
    assert texts_in(tmp_path) == {"path": "old"}


def test_a_folder_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    before = a_folder(tmp_path)
    message = r"'sub' is a folder there.*Nothing was changed"
    with pytest.raises(OSError, match=message), new_folder(tmp_path, overwrite=True) as folder:
        for name in ("a", "sub"):
            (folder / name).write_text("new")
    assert texts_in(tmp_path) == before


def test_a_link_among_the_files_is_replaced_and_not_its_target(tmp_path: Path) -> None:
    path = tmp_path / "path"
    before = a_folder(path)
    (tmp_path / "elsewhere").write_text("mine")
    (path / "c").symlink_to(tmp_path / "elsewhere")
    write_new(path)
    assert texts_in(tmp_path / "path") == before | dict.fromkeys("abc", "new") and not (path / "c").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "mine"


MOVES = 5  # `b` and `a` out, `a`, `b` and `c` in


@contextmanager
def failing_rename(good: range) -> Iterator[list[int]]:
    """Let ``Path.rename`` fail but for the calls whose numbers are in ``good``; yields the numbers of the calls so far."""
    calls: list[int] = []
    rename = Path.rename

    def sometimes(self: Path, target: Path) -> Path:
        calls.append(len(calls))
        if calls[-1] in good:
            return rename(self, target)
        raise OSError(errno.EIO, "the cable is out")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", sometimes)
        yield calls


@pytest.mark.parametrize("n", range(MOVES))
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_between_two_moves_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, error: type[BaseException]
) -> None:
    before = a_folder(tmp_path)
    rename, calls = Path.rename, []

    def fails_once(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == n + 1 and error is OSError:
            raise OSError(errno.EIO, "the cable is out")
        moved = rename(self, target)
        if len(calls) == n + 1:
            raise error  # just after the move
        return moved

    monkeypatch.setattr(Path, "rename", fails_once)
    with pytest.raises(error) as caught:
        write_new(tmp_path)
    if error is OSError:
        assert "the cable is out" in str(caught.value) and "Nothing was changed" in str(caught.value)
    assert texts_in(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "sub", "thesis"]


@pytest.mark.parametrize("n", range(1, MOVES))
def test_where_moves_cannot_be_undone_no_earlier_file_is_lost(tmp_path: Path, n: int) -> None:
    before = a_folder(tmp_path)
    with failing_rename(good=range(n)), pytest.raises(RuntimeError, match=r"could not be put back either.* are in '.*/old'"):
        write_new(tmp_path)
    (old,) = tmp_path.glob(".coto_lab-*/old")
    assert {name: (old / name).exists() or (tmp_path / name).read_text() == "old" for name in "ab"} == {"a": True, "b": True}
    assert all((tmp_path / name).read_text() == before[name] for name in ("sub/notes", "thesis"))
    assert not (tmp_path / "c").exists()  # the last comes when all others are there


def test_the_moves_are_as_many_as_the_tests_above_assume(tmp_path: Path) -> None:
    a_folder(tmp_path)
    with failing_rename(good=range(MOVES)) as calls:
        write_new(tmp_path)
    assert len(calls) == MOVES


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


@pytest.mark.parametrize("failing", ["mkdtemp", "mkdir", "rename"])
def test_errors_in_making_the_folder_itself_are_told_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not here")

    monkeypatch.setattr(tempfile if failing == "mkdtemp" else Path, failing, refuse)
    with pytest.raises(OSError, match=r"could not write .*: not here.*Nothing was changed"), new_folder(tmp_path / "x"):
        pass
    assert os.listdir(tmp_path) == []


@contextmanager
def no_chmod(error: int) -> Iterator[None]:
    """A mount that refuses ``chmod``, as those of Windows drives and some network storage do."""

    def refuse(self: Path, mode: int) -> None:
        raise OSError(error, os.strerror(error))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "chmod", refuse)
        yield


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOTSUP, errno.EACCES], ids=errno.errorcode.get)
def test_a_file_system_that_refuses_chmod_takes_the_files(tmp_path: Path, error: int) -> None:
    with no_chmod(error):
        write_new(tmp_path / "folder")
        write_new(tmp_path / "folder")
        write_file(tmp_path / "file", lambda fresh: fresh.write_text("new") and None)
    assert texts_in(tmp_path) == {"file": "new"} | {f"folder/{name}": "new" for name in "abc"}


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077], ids=oct)
def test_files_that_were_made_private_get_the_mode_that_the_umask_says(tmp_path: Path, umask: int) -> None:
    def private(file: Path) -> None:
        file.touch(mode=0o600)

    before = os.umask(umask)
    try:
        with new_folder(tmp_path / "folder") as folder:
            private(folder / "a")
        with new_folder(tmp_path / "folder", overwrite=True) as folder:
            private(folder / "b")
        write_file(tmp_path / "file", private)
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("folder/a", "folder/b", "file", "folder")]
    assert modes == [0o666 & ~umask] * 3 + [0o777 & ~umask]


def test_a_link_to_a_file_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("old")
    (tmp_path / "link").symlink_to("elsewhere/file")
    write_file(tmp_path / "link", lambda fresh: fresh.write_text("new") and None)
    assert (tmp_path / "link").is_symlink() and texts_in(tmp_path / "elsewhere") == {"file": "new"}
