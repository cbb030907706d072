"""The Python of the Jupyter server that started this kernel; it is often of another environment than the kernel's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

_ASK = """
import importlib.metadata, json, sys

def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None

print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""


def server_python() -> Path | None:
    """The server's Python, or ours if no server started this process; None if the server's Python is unknown."""
    import psutil

    if not (parent := os.environ.get("JPY_PARENT_PID")):
        return Path(sys.executable)
    try:
        server = psutil.Process(_process_id(int(parent)))
        program = server.cmdline()[0]
        if Path(program).name == program:  # the program is on the server's PATH, which may differ from ours
            program = shutil.which(program, path=server.environ().get("PATH")) or program
        return _python_of(Path(program) if Path(program).is_absolute() else Path(server.cwd(), program))
    except (psutil.Error, OSError, ValueError, IndexError):
        return None


def is_nbclassic() -> bool:
    """Whether the server that started this process is nbclassic, whose page cannot show plotly's own type of output."""
    import psutil

    try:
        words = psutil.Process(_process_id(int(os.environ["JPY_PARENT_PID"]))).cmdline()[:3]
    except (psutil.Error, OSError, ValueError, KeyError):
        return False
    return any(
        Path(word).stem.lower() in ("nbclassic", "jupyter-nbclassic") for word in words
    )  # python -m nbclassic, or its program


def is_ours(python: Path) -> bool:
    """Whether a Python belongs to this process's environment."""
    try:
        # The folders are compared, because the Pythons of several environments may be links to the same file.
        return python.parent.samefile(Path(sys.executable).parent)
    except OSError:
        return False


def versions_in(python: Path, names: list[str]) -> dict[str, str | None]:
    """Versions of packages in another Python's environment, None for a missing one; empty if that Python does not answer."""
    try:
        done = subprocess.run([str(python), "-c", _ASK, *names], capture_output=True, check=True, timeout=20)
        return dict(json.loads(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}


def _process_id(parent: int) -> int:
    if sys.platform == "win32":  # on Windows, jupyter_client gives its kernels a handle of the parent process
        import ctypes

        return int(ctypes.windll.kernel32.GetProcessId(ctypes.c_void_p(parent)))
    return parent


def _python_of(program: Path) -> Path | None:
    """The Python that runs a program: the program itself, or the Python beside ``jupyter-lab`` or (conda) one folder above."""
    name = program.name.lower()
    if name.startswith("python"):
        return program
    if not name.startswith("jupyter"):
        return None
    beside = (folder / python for folder in program.parents[:2] for python in ("python.exe", "python"))
    return next((python for python in beside if python.is_file()), None)
