"""Warnings that point at the line of the user, however many functions of this package lie between."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

_PACKAGE = str(Path(__file__).parents[1]) + os.sep


def warn_user(message: str) -> None:
    """Give a ``UserWarning`` that names the last line outside this package that led here.

    Source: pandas' ``find_stack_level``; Python 3.12 has ``skip_file_prefixes`` for this.
    """
    level = 1
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    warnings.warn(message, UserWarning, stacklevel=level)
