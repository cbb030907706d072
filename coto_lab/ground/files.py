"""Files and folders written whole or not at all, and the place where the embedded data lies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def data_path(*parts: str) -> Path:
    """A path inside the embedded data: beside the package in a checkout, inside it when installed from a wheel.

    Raises:
        FileNotFoundError: there is nothing at that path.
    """
    package = Path(__file__).parents[1]
    for root in (package / "_data", package.parent / "data"):
        if (path := root.joinpath(*parts)).exists():
            return path
    raise FileNotFoundError(
        f"the embedded data {'/'.join(parts)!r} is neither in {package / '_data'} nor in {package.parent / 'data'}; "
        "install coto_lab from a complete checkout or wheel."
    )


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to fill with files, which come to ``path`` when the block ends without an exception; otherwise nothing changes.

    Where nothing is at ``path``, the folder appears in one step. In an existing folder, files of the same names are replaced
    and all others stay. The new files are complete before the first one is moved, and an error on the way puts the earlier
    files back. A process that is killed between two moves leaves some of the files missing, always the last one by name; the
    earlier files are then in a hidden folder inside ``path``. A symbolic link at ``path`` stays; its target is written to.

    Raises:
        FileExistsError: ``path`` is a file, or a folder that is not empty while ``overwrite`` is False.
        OSError: the disk is full or not writable, or a folder has the name of a new file; nothing was changed.
        RuntimeError: an error between two moves could not be undone; it names the hidden folder.
    """
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"path={str(path)!r} is a file, not a folder; choose another path.")
    if path.exists() and any(path.iterdir()) and not overwrite:
        raise FileExistsError(
            f"path={str(path)!r} exists; choose another path, or pass overwrite=True to replace the files in it that have the "
            "names of the new ones. All others stay."
        )
    with _disk_errors(path):
        target = Path(os.path.realpath(path))
        exists = target.is_dir()
        with _workplace(target if exists else target.parent) as work:
            new, old = work / "new", work / "old"
            new.mkdir()
            yield new
            _open_to_others(new)
            if exists:
                old.mkdir()
                _exchange(new, old, target)
            else:
                new.rename(target)


def write_file(path: Path, write: Callable[[Path], None]) -> None:
    """Have ``write`` make a file under a temporary name and move it to ``path`` in one step, replacing what was there.

    A symbolic link at ``path`` stays; its target is replaced.

    Raises:
        OSError: the disk is full or not writable; an earlier file is as it was.
    """
    with _disk_errors(path):
        target = Path(os.path.realpath(path))
        with _workplace(target.parent) as work:
            write(work / target.name)
            _open_to_others(work)
            (work / target.name).replace(target)


def check_place(path: Path) -> None:
    """Look whether `write_file` can write at ``path``, before hours of work end there. Only the folder of ``path`` is made.

    Raises:
        OSError: the folder is not writable.
    """
    with _disk_errors(path), _workplace(Path(os.path.realpath(path)).parent) as work:
        (work / path.name).touch()


@contextmanager
def _workplace(parent: Path) -> Iterator[Path]:
    """A hidden folder in ``parent``, and so on the same file system, where each move is one step; it is deleted at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=parent, prefix=".coto_lab-"))
    try:
        yield work
    finally:
        if not (work / "old").exists() or not any((work / "old").iterdir()):  # else `old` may hold the only copy
            shutil.rmtree(work, ignore_errors=True)


def _open_to_others(folder: Path) -> None:
    """Give the files in ``folder`` the mode of any new file; safetensors makes files that only their owner can read."""
    usual = folder / ".usual"
    usual.touch()
    mode = stat.S_IMODE(usual.stat().st_mode)
    usual.unlink()
    for file in folder.iterdir():
        if file.is_file():
            with suppress(OSError):  # some mounts refuse it, and the file is complete without it
                file.chmod(mode)


def _exchange(new: Path, old: Path, folder: Path) -> None:
    """Move the files in ``new`` to ``folder`` and delete those that they replace; after an error, all are as before.

    The last file by name leaves first and arrives last: while earlier and new files are mixed, it is missing, so that nobody
    reads the mixture as a complete run.
    """
    names = sorted(file.name for file in new.iterdir())
    replaced = [name for name in reversed(names) if os.path.lexists(folder / name)]
    if blocked := [name for name in replaced if (folder / name).is_dir() and not (folder / name).is_symlink()]:
        raise IsADirectoryError(f"{blocked[0]!r} is a folder there, and would be replaced by a file")
    moves = [(folder / name, old / name) for name in replaced] + [(new / name, folder / name) for name in names]
    try:
        for source, target in moves:
            source.rename(target)
    except BaseException as error:
        try:
            for source, target in reversed(moves):
                if not os.path.lexists(source):
                    target.rename(source)
        except OSError as worse:
            raise RuntimeError(
                f"could not move the new files into {str(folder)!r}: {error}. The earlier files could not be put back either: "
                f"{worse}. Those of them that are missing are in {str(old)!r}."
            ) from error
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn the errors of writing below ``path`` into an OSError that says what happened to the files: nothing."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        nearest = next(folder for folder in (path, *path.parents) if os.path.exists(folder))
        free = shutil.disk_usage(nearest).free
        raise OSError(
            f"could not write {str(path)!r}: {error}. {free / 1e6:.0f} MB are free there; make room or choose another place. "
            "Nothing was changed."
        ) from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; ValueError names the file and the fault."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as JSON: {error}. Is this a finished run or adapter folder?") from error
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} holds a {type(content).__name__}, not an object.")
    return content


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; ValueError names the file and the fault."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{str(path)!r} cannot be read as safetensors: {error}. Is it truncated, or of another format?"
        ) from error
