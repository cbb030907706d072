"""What a notebook's setup cell does. Nothing else in the package knows where it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from coto_lab._numbers import whole_number

T = TypeVar("T")

_IN_BROWSER = ("anywidget", "jupyterlab_widgets")  # packages whose browser half comes from the notebook server

FAST = "COTO_LAB_FAST"  # environment: anything but "" and "0" means the fast scale
JUPYTER, COLAB, VS_CODE, HEADLESS, SCRIPT = "JupyterLab", "Colab", "VS Code", "a headless kernel", "a script"


@dataclass(frozen=True)
class Here:
    """Where a notebook runs.

    Attributes:
        place: ``"JupyterLab"``, ``"Colab"``, ``"VS Code"``, ``"a headless kernel"`` (nbconvert, nbval, a page being built) or
            ``"a script"``.
        live: whether widgets work and somebody can move them; if not, views show their figure as it stands.
        fast: whether this is the fast scale, on which trainings are short and their numbers mean little.
    """

    place: str
    live: bool
    fast: bool

    def scale(self, full: T, fast: T) -> T:
        """``full``, or ``fast`` on the fast scale."""
        return fast if self.fast else full


def where() -> Here:
    """Where this kernel or script runs; changes nothing."""
    place = _place()
    live = place in (JUPYTER, COLAB, VS_CODE) and all(find_spec(name) for name in ("ipywidgets", "anywidget"))
    return Here(place, live, os.environ.get(FAST, "0") not in ("", "0"))


def _place() -> str:
    if "google.colab" in sys.modules:
        return COLAB
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):
        return SCRIPT
    if "VSCODE_PID" in os.environ:  # other VSCODE_ variables are those of its terminal, too
        return VS_CODE
    # A Jupyter server tells its kernels the path of the notebook; nbclient and nbval, which start kernels themselves, do not.
    return JUPYTER if "JPY_SESSION_NAME" in os.environ else HEADLESS


def setup(threads: int | None = None) -> Here:
    """Install what is missing on Colab, choose the figures' renderer, and print one line that says where this runs.

    Further lines appear only where versions do not fit together (`doctor`).

    Args:
        threads: CPU threads for torch; None leaves its choice. The embedded models are too small to gain much from a second
            one (``OMP_NUM_THREADS=1 make bench`` and ``=2`` show it), and on a busy machine two wait for each other.

    Raises:
        ValueError: ``threads`` below 1.
        RuntimeError: on Colab, something is missing and pip could not install it.
    """
    here = where()
    if here.place == COLAB:
        _install_missing()
        _enable_colab_widgets()
        here = where()  # what was missing may have been what views need
    import plotly.io as pio
    import torch

    from coto_lab.evaluation import default_device
    from coto_lab.figures import CONFIG

    if threads is not None:
        torch.set_num_threads(whole_number("threads", threads, 1))
    torch.manual_seed(0)  # for what a reader draws by hand: nothing in the lab uses the global generator
    # PEFT asks transformers in a way that a coming release will not answer; nothing a reader could change.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
    pio.renderers.default = {SCRIPT: "json", COLAB: "colab"}.get(here.place, "plotly_mimetype")
    pio.renderers[pio.renderers.default].config = CONFIG
    device = default_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else str(device).replace("cpu", "CPU")
    count = torch.get_num_threads()
    print(
        f"coto_lab {version('coto_lab')} in {here.place}, on {name} ({count} thread{'s' * (count > 1)}), "
        f"torch {version('torch').split('+')[0]}, peft {version('peft')}, {'live' if here.live else 'static'} figures by "
        f"{pio.renderers.default}, {here.scale('full', 'fast')} scale"
    )
    for complaint in doctor():
        print(f"doctor: {complaint}")
    return here


def doctor() -> list[str]:
    """What does not fit together here, each with its mend; empty where all is well.

    Compares what is installed with what the package and its ``lab`` extra ask for, and the two halves of a widget: the kernel's
    package and the browser's, which a notebook server in another environment may have in another version.
    """
    complaints = [f"{found}. Mend: {sys.executable} -m pip install '{wanted}'" for wanted, found in _unmet().items()]
    ipywidgets, extension = _installed("ipywidgets"), _installed("widgetsnbextension")
    if ipywidgets and extension and _major(extension) != _major(ipywidgets) - 4:  # 8 goes with 4, 7 with 3
        complaints.append(
            f"ipywidgets {ipywidgets} does not go with widgetsnbextension {extension}. "
            f"Mend: {sys.executable} -m pip install --force-reinstall ipywidgets"
        )
    for name, theirs in _of_server().items():
        if theirs != (ours := _installed(name)):
            complaints.append(
                f"{name} is {ours} in this kernel and {theirs} in the notebook server's environment: widgets may stay empty. "
                "Mend: install the same version in both, or start JupyterLab from the kernel's environment"
            )
    return complaints


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _major(number: str) -> int:
    return int(number.split(".")[0])


def _unmet() -> dict[str, str]:
    """Requirements of the package and its ``lab`` extra that are not met: requirement -> what was found."""
    from packaging.requirements import Requirement

    unmet = {}
    for line in requires("coto_lab") or []:
        requirement = Requirement(line)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in ("", "lab")):
            continue
        found = _installed(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            unmet[f"{requirement.name}{requirement.specifier}"] = f"{requirement.name} is {found or 'missing'}"
    return unmet


def _of_server() -> dict[str, str | None]:
    """Versions of `_IN_BROWSER` in the environment of the Jupyter server that started this kernel; empty where it is ours."""
    import psutil

    parent = os.environ.get("JPY_PARENT_PID")
    try:
        python = psutil.Process(int(parent or 0)).cmdline()[0] if parent else sys.executable
        if Path(python).parent == Path(sys.executable).parent or not Path(python).name.startswith("python"):
            return {}
        code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
        found = json.loads(subprocess.run([python, "-c", code], capture_output=True, check=True, timeout=20).stdout)
        return {name: found.get(name) for name in _IN_BROWSER}
    except (psutil.Error, OSError, ValueError, IndexError, subprocess.SubprocessError):
        return {}  # it cannot be asked, so there is nothing to say


def _install_missing() -> None:
    """Have pip install what is not met, with this machine's torch held as it is."""
    if not (unmet := _unmet()):
        return
    print("installing " + ", ".join(unmet))
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder, "held.txt")
        held.write_text(f"torch=={version('torch')}\n", encoding="utf-8")
        done = subprocess.run(_install_command(list(unmet), held), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"pip could not install {', '.join(unmet)}:\n{done.stderr.strip()[-2000:]}")
    stale = [name for line in unmet if (name := line.split(">")[0]) in sys.modules]
    if stale:
        print(f"{', '.join(stale)} was in use already: restart the kernel (Runtime > Restart), then run this cell again.")


def _install_command(requirements: list[str], held: Path) -> list[str]:
    return [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(held), *requirements]


def _enable_colab_widgets() -> None:
    from google.colab import output

    output.enable_custom_widget_manager()
