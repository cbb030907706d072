"""Functions that a notebook calls first: they find where it runs, choose how figures are shown, and check the environment."""

from __future__ import annotations

from coto_lab.notebook.cell import remove_torchao, setup
from coto_lab.notebook.diagnosis import doctor
from coto_lab.notebook.diagnosis import installed as _installed  # its name when this room was one file; scripts still use it
from coto_lab.notebook.place import COLAB, DATABRICKS, HEADLESS, JUPYTER, KAGGLE, SCRIPT, VS_CODE, Here, where

__all__ = [
    "COLAB", "DATABRICKS", "HEADLESS", "JUPYTER", "KAGGLE", "SCRIPT", "VS_CODE", "Here", "_installed", "doctor",
    "remove_torchao", "setup", "where",
]  # fmt: skip
