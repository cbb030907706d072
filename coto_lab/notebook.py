"""What a notebook's setup cell does. Nothing else in the package knows where it runs."""

from __future__ import annotations

import importlib
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
from coto_lab._server import is_nbclassic, is_ours, server_python, versions_in

T = TypeVar("T")

FAST = "COTO_LAB_FAST"  # environment: anything but "" and "0" means the fast scale
JUPYTER, COLAB, VS_CODE, HEADLESS, SCRIPT = "JupyterLab", "Colab", "VS Code", "a headless kernel", "a script"
KAGGLE, DATABRICKS = "Kaggle", "Databricks"

# JupyterLab and VS Code know plotly's own type of output. A page that knows only HTML needs 5 MB of JavaScript in the notebook:
# nbconvert writes such pages, and the classic Notebook is one. Notebook 6 starts its kernels as if they were headless.
_KNOWN, _HTML_TOO = "plotly_mimetype", "plotly_mimetype+notebook"
_RENDERERS = {SCRIPT: "json", COLAB: "colab", KAGGLE: "kaggle", DATABRICKS: "databricks", HEADLESS: _HTML_TOO}


@dataclass(frozen=True)
class Here:
    """Where a notebook runs.

    Attributes:
        place: ``"JupyterLab"`` (whatever starts its kernels by a Jupyter server: also Notebook, JupyterHub and PyCharm),
            ``"VS Code"`` (its notebooks also over SSH, in WSL and in a container), ``"Colab"``, ``"Kaggle"``, ``"Databricks"``,
            ``"a headless kernel"`` (nbconvert, nbval, a page being built) or ``"a script"``.
        live: whether widgets work and somebody can move them; if not, views show their figure as it stands. On Kaggle and
            Databricks the live views were never tried, so they are static there.
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
    if "__vsc_ipynb_file__" in getattr(shell, "user_ns", {}):  # set by VS Code wherever the kernel runs
        return VS_CODE
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return DATABRICKS
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return KAGGLE
    # A Jupyter server tells its kernels the path of the notebook; nbclient and nbval, which start kernels themselves, do not.
    if "JPY_SESSION_NAME" in os.environ:
        return JUPYTER
    # VS Code's interactive window has no notebook file. Other VSCODE_ variables are those of its terminal, too.
    return VS_CODE if "VSCODE_PID" in os.environ else HEADLESS


def setup(threads: int | None = None, size: str = "normal") -> Here:
    """Choose how figures are shown, and print one line that says where this runs.

    The environment's ``PLOTLY_RENDERER`` goes before the choice: with ``plotly_mimetype+notebook`` in JupyterLab, pages that
    its menu exports show their figures, and every notebook grows by 5 MB.

    On Colab it first installs what is missing and removes a torchao that PEFT refuses (`remove_torchao`). Further lines appear
    only where `doctor` finds something that does not fit.

    Args:
        threads: CPU threads for torch; None leaves its choice. The embedded models are too small to gain much from a second
            one (``OMP_NUM_THREADS=1 make bench`` and ``=2`` show it), and on a busy machine two wait for each other.
        size: of the letters in figures, controls and sentences: ``"large"`` for a lecture. It holds for what is made later;
            on Colab, for figures only.

    Raises:
        ValueError: ``threads`` below 1; an unknown ``size``.
        RuntimeError: on Colab, pip could not install what is missing, or could not remove torchao.
    """
    here = where()
    if here.place == COLAB:
        _install_missing()
        remove_torchao()
        _enable_colab_widgets()
        here = where()  # what was missing may have been what views need
    import plotly.io as pio
    import torch

    from coto_lab._renderers import use_renderer
    from coto_lab.evaluation import default_device
    from coto_lab.figures._theme import page_css, set_text_size

    checked = None if threads is None else whole_number("threads", threads, 1)
    set_text_size(size)
    if checked is not None:
        torch.set_num_threads(checked)
    torch.manual_seed(0)  # for what a reader draws by hand: nothing in the lab uses the global generator
    # PEFT asks transformers in a way that a coming release will not answer; nothing a reader could change.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
    fitting = _HTML_TOO if here.place == JUPYTER and is_nbclassic() else _RENDERERS.get(here.place, _KNOWN)
    use_renderer(os.environ.get("PLOTLY_RENDERER") or fitting)
    if here.place in (JUPYTER, VS_CODE):  # on Colab every output is a page of its own
        from IPython.display import publish_display_data

        publish_display_data({"text/html": f"<style>{page_css()}</style>", "text/plain": ""})
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
    """What does not fit together here, each with its fix; empty where all is well.

    It compares what is installed with what the package asks for in this place, and names what PEFT refuses to work beside.
    Widgets and static figures have a second half in the browser, which comes from the notebook server's environment: that may
    be another one than the kernel's, so doctor() asks it, and compares as far as the two halves have to agree.
    """
    place, server = _place(), server_python()
    ours = server is not None and is_ours(server)
    in_jupyter = place in (JUPYTER, SCRIPT)  # a script may be what somebody runs before starting JupyterLab
    pip = _pip(sys.executable)

    unmet = _unmet("lab" if ours and in_jupyter else "colab")
    complaints = [f'{found}. Fix: {pip} install "{wanted}", then restart the kernel' for wanted, found in unmet.items()]
    for name, reason in _refused_by_peft().items():
        complaints.append(
            f"PEFT cannot add adapters while this {name} is installed. PEFT says: {reason} "
            f"Fix: {pip} uninstall --yes {name}, then restart the kernel"
        )
    ipywidgets, extension = _installed("ipywidgets"), _installed("widgetsnbextension")
    if ipywidgets and extension and _major(extension) != _major(ipywidgets) - 4:  # 8 goes with 4, 7 with 3
        complaints.append(
            f"ipywidgets {ipywidgets} does not go with widgetsnbextension {extension}. "
            f"Fix: {pip} install --force-reinstall ipywidgets, then restart the kernel"
        )
    # VS Code draws figures itself; but the notebook of a server whose kernel it uses may be opened in the server's page, too.
    if server is None or not (in_jupyter or (place == VS_CODE and not ours)):
        return complaints  # the page takes nothing from a server that could be asked
    needs = _needed_in_the_page()
    found_there = {name: _installed(name) for name in needs} if ours else versions_in(server, list(needs))
    for name, found in found_there.items():
        wanted, consequence = needs[name]
        if found is None or not _fits(found, wanted):
            complaints.append(
                f"{name} is {found or 'missing'} in the notebook server's environment, and this kernel needs {name}{wanted}; "
                f'without it, {consequence} in its page. Fix: {_pip(server)} install "{name}{wanted}", then restart the server '
                "and reload the page"
            )
    return complaints


def remove_torchao() -> None:
    """On Colab, uninstall a torchao beside which PEFT makes no adapter, and say so; anywhere else do nothing.

    PEFT uses torchao for quantised layers only, and nothing in the lab needs it. A newer one is no way out: each is built for
    one torch, and Colab's torch stays as it is.

    Raises:
        RuntimeError: pip could not uninstall it.
    """
    if _place() != COLAB or "torchao" not in _refused_by_peft():
        return
    found = _installed("torchao")
    command = [sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", "torchao"]
    done = subprocess.run(command, capture_output=True, text=True)
    importlib.invalidate_caches()
    if done.returncode or "torchao" in _refused_by_peft():  # there may be another copy, or one that pip does not know
        raise RuntimeError(f"pip could not uninstall torchao {found}:\n{done.stderr.strip()[-2000:]}")
    print(f"removed torchao {found}: PEFT cannot add adapters while it is installed, and nothing in the lab needs it")


def _pip(python: str | Path | None) -> str:
    """The command of an environment's pip, as one types it in a shell."""
    return f'"{python}" -m pip' if " " in str(python) else f"{python} -m pip"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _major(number: str) -> int:
    return int(number.split(".")[0])


def _fits(number: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(number, prereleases=True)


def _unmet(extra: str) -> dict[str, str]:
    """Requirements of the package and one of its extras that are not met: requirement -> what was found."""
    from packaging.requirements import Requirement

    unmet = {}
    for line in requires("coto_lab") or []:
        requirement = Requirement(line)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": name}) for name in ("", extra)):
            continue
        found = _installed(requirement.name)
        if found is None or not _fits(found, str(requirement.specifier)):
            unmet[f"{requirement.name}{requirement.specifier}"] = f"{requirement.name} is {found or 'missing'}"
    return unmet


def _refused_by_peft() -> dict[str, str]:
    """Installed packages beside which PEFT makes no adapter: name -> PEFT's own words."""
    refused = {}
    for name in ("torchao", "gptqmodel"):
        if find_spec(name) and find_spec("peft"):
            from peft import import_utils

            try:
                getattr(import_utils, f"is_{name}_available")()
            except ImportError as error:
                refused[name] = str(error)
    return refused


def _needed_in_the_page() -> dict[str, tuple[str, str]]:
    """What the server's environment must hold to show what this kernel sends: name -> (versions, what happens otherwise)."""
    needs = {}
    if ipywidgets := _installed("ipywidgets"):
        half = {7: 1}.get(_major(ipywidgets), _major(ipywidgets) - 5)  # 8 goes with 3
        needs["jupyterlab_widgets"] = (f"=={half}.*", "widgets stay empty")
    if anywidget := _installed("anywidget"):  # its widgets ask the page for ~major.minor
        needs["anywidget"] = (f"=={'.'.join(anywidget.split('.')[:2])}.*", "widgets stay empty")
    if plotly := _installed("plotly"):  # it ships JupyterLab's extension for its figures
        least = ">=6.1," if _major(plotly) == 6 else ""  # 6.0 came without it
        needs["plotly"] = (f"{least}=={_major(plotly)}.*", "static figures stay blank")
    return needs


def _install_missing() -> None:
    """Have pip install what is not met, with this machine's torch held as it is."""
    if not (unmet := _unmet("colab")):
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
