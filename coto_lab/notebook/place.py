"""The place in which a notebook runs."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TypeVar

T = TypeVar("T")

FAST = "COTO_LAB_FAST"  # environment: anything but "" and "0" means the fast scale
JUPYTER, COLAB, VS_CODE, HEADLESS, SCRIPT = "JupyterLab", "Colab", "VS Code", "a headless kernel", "a script"
KAGGLE, DATABRICKS = "Kaggle", "Databricks"


@dataclass(frozen=True)
class Here:
    """The place in which a notebook runs.

    Attributes:
        place: ``"JupyterLab"`` (any program whose kernels a Jupyter server starts, so also Notebook, JupyterHub and PyCharm),
            ``"VS Code"`` (also over SSH, in WSL and in a container), ``"Colab"``, ``"Kaggle"``, ``"Databricks"``,
            ``"a headless kernel"`` (nbconvert, nbval, a page being built) or ``"a script"``.
        live: whether widgets work and a reader can move them; if not, views show static figures. The live views were never
            tried on Kaggle and Databricks, so views are static there.
        fast: whether this is the fast scale, on which trainings are short and their numbers mean little.
    """

    place: str
    live: bool
    fast: bool

    def scale(self, full: T, fast: T) -> T:
        """Return ``fast`` on the fast scale, and ``full`` otherwise."""
        return fast if self.fast else full


def where() -> Here:
    """The place in which this kernel or script runs; the function changes nothing."""
    place = find_place()
    live = place in (JUPYTER, COLAB, VS_CODE) and all(find_spec(name) for name in ("ipywidgets", "anywidget"))
    return Here(place, live, os.environ.get(FAST, "0") not in ("", "0"))


def find_place() -> str:
    """The name of the place, found by what each place leaves in the environment or in the loaded modules."""
    if "google.colab" in sys.modules:
        return COLAB
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):
        return SCRIPT
    if "__vsc_ipynb_file__" in getattr(shell, "user_ns", {}):  # VS Code sets this name on any machine
        return VS_CODE
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return DATABRICKS
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return KAGGLE
    # A Jupyter server tells its kernels the path of the notebook. nbclient and nbval start kernels without this path.
    if "JPY_SESSION_NAME" in os.environ:
        return JUPYTER
    # VS Code's interactive window has no notebook file. Its terminal sets other VSCODE_ variables too, so only this one counts.
    return VS_CODE if "VSCODE_PID" in os.environ else HEADLESS
