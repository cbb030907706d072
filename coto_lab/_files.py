"""Files and folders written whole or not at all, and the place where the embedded data lies."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def data_path(*parts: str) -> Path:
    """A path inside the embedded data: beside the package in a checkout, inside it when installed from a wheel.

    Raises:
        FileNotFoundError: there is nothing at that path.
    """
    package = Path(__file__).parent
    for root in (package / "_data", package.parent / "data"):
        if (path := root.joinpath(*parts)).exists():
            return path
    raise FileNotFoundError(
        f"the embedded data {'/'.join(parts)!r} is neither in {package / '_data'} nor in {package.parent / 'data'}; "
        "install coto_lab from a complete checkout or wheel."
    )


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes ``path`` when the block ends without an exception; otherwise nothing changes.

    Raises:
        FileExistsError: ``path`` exists and ``overwrite`` is False.
        OSError: the disk is full or not writable.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(f"path={str(path)!r} exists; choose another, or pass overwrite=True to replace it.")
    with _disk_errors(path), _replacing(path) as fresh:
        yield fresh


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        yield fresh
        umask = _umask()
        fresh.chmod(0o777 & ~umask)  # mkdtemp and safetensors make private files; these become the user's
        for file in fresh.iterdir():
            file.chmod(0o666 & ~umask)
        if path.exists():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-old-"))
            try:
                path.rename(old / path.name)
                try:
                    fresh.rename(path)
                except BaseException:
                    (old / path.name).rename(path)
                    raise
            finally:
                if path.exists():  # else `old` holds the only copy
                    shutil.rmtree(old, ignore_errors=True)
        else:
            fresh.rename(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def write_file(path: Path, write: Callable[[Path], None]) -> None:
    """Have ``write`` make a file under a temporary name and move it to ``path`` in one step, replacing what was there.

    Raises:
        OSError: the disk is full or not writable; an earlier file is as it was.
    """
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}-{os.getpid()}")
        try:
            write(fresh)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


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
