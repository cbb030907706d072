"""Where a page and a pruned adapter may be written: looked at before anything is measured."""

from __future__ import annotations

import os
from pathlib import Path


def check_page(path: str | Path, overwrite: bool) -> Path:
    """``path``, if a page may be written there.

    Raises:
        FileExistsError: there is something at ``path``, and ``overwrite`` is False, or it is a folder.
        NotADirectoryError: a folder in which it would be is a file.
        PermissionError: nothing may be written there.
    """
    path = Path(path)
    _check_folder_around(path)
    if path.is_dir() or (path.exists() and not overwrite):
        advice = "it is a folder. Name a file" if path.is_dir() else "choose another name, or allow to overwrite it"
        raise FileExistsError(f"{str(path)!r} exists: {advice}.")
    return path


def check_new_folder(folder: Path) -> None:
    """Whether a pruned adapter may be written to a folder of this name; it replaces nothing.

    Raises:
        FileExistsError: there is something.
        NotADirectoryError: a folder in which it would be is a file.
        PermissionError: nothing may be written there.
    """
    _check_folder_around(folder)
    if folder.exists():
        raise FileExistsError(f"save={str(folder)!r} exists, and a pruned adapter replaces nothing. Choose a new folder.")


def check_apart(page: Path, folder: Path) -> None:
    """ValueError if the page would be where the folder of the pruned adapter is, or a folder around it."""
    if page.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise ValueError(f"the page {str(page)!r} cannot be where the folder {str(folder)!r} is. Choose another name for one.")


def _check_folder_around(path: Path) -> None:
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{str(path)!r} cannot be written: {str(nearest)!r} is a file, and no folder. Choose another.")
    if not os.access(nearest, os.W_OK):
        raise PermissionError(f"{str(path)!r} cannot be written: the folder {str(nearest)!r} is closed to you. Choose another.")
