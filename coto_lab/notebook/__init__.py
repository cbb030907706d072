"""What a notebook calls first: where it runs, how figures are shown there, and what does not fit."""

from __future__ import annotations

from coto_lab.notebook.cell import remove_torchao, setup
from coto_lab.notebook.diagnosis import doctor
from coto_lab.notebook.place import Here, where

__all__ = ["Here", "doctor", "remove_torchao", "setup", "where"]
