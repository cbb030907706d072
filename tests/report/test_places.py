"""Where nothing can be written is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from coto_lab.report.places import check_apart, check_new_folder, check_page


def test_a_page_goes_where_nothing_is_or_over_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "page.html").touch()
    assert check_page(tmp_path / "new" / "page.html", False) == tmp_path / "new" / "page.html"
    assert check_page(tmp_path / "page.html", True) == tmp_path / "page.html" and not (tmp_path / "new").exists()
    with pytest.raises(FileExistsError, match="exists: choose another name, or allow to overwrite it"):
        check_page(tmp_path / "page.html", False)
    with pytest.raises(FileExistsError, match=r"exists: it is a folder\. Name a file"):
        check_page(tmp_path, True)


def test_a_file_is_no_folder_and_a_closed_folder_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "x", tmp_path / "file" / "a" / "x"):
        for check in (lambda path: check_page(path, True), check_new_folder):
            with pytest.raises(NotADirectoryError, match="file' is a file, and no folder"):
                check(path)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # whoever runs tests as root may write anywhere
    with pytest.raises(PermissionError, match="is closed to you"):
        check_new_folder(tmp_path / "new")


def test_the_page_and_the_pruned_adapter_are_apart(tmp_path: Path) -> None:
    check_apart(tmp_path / "pruned" / "page.html", tmp_path / "pruned")
    for folder in (tmp_path / "page", tmp_path / "page" / "half"):
        with pytest.raises(ValueError, match="page' cannot be where the folder"):
            check_apart(tmp_path / "page", folder)
