"""The functions of a notebook's setup cell."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

from coto_lab.ground.device import default_device
from coto_lab.ground.numbers import whole_number
from coto_lab.ground.versions import version_of
from coto_lab.notebook.diagnosis import doctor, installed, refused_by_peft, unmet_requirements
from coto_lab.notebook.place import COLAB, DATABRICKS, HEADLESS, JUPYTER, KAGGLE, SCRIPT, VS_CODE, Here, find_place, where
from coto_lab.notebook.server import is_nbclassic

# JupyterLab and VS Code know plotly's own type of output. A page that knows only HTML needs 5 MB of JavaScript in the notebook.
# Such pages are those of nbconvert and of the classic Notebook. Kernels of Notebook 6 look like headless kernels.
_KNOWN, _HTML_TOO = "plotly_mimetype", "plotly_mimetype+notebook"
_RENDERERS = {SCRIPT: "json", COLAB: "colab", KAGGLE: "kaggle", DATABRICKS: "databricks", HEADLESS: _HTML_TOO}


def setup(threads: int | None = None, size: str = "normal") -> Here:
    """Choose how figures are shown, and print one line that says where the notebook runs.

    The environment variable ``PLOTLY_RENDERER`` overrides the choice. With ``plotly_mimetype+notebook`` in JupyterLab, pages
    that are exported by JupyterLab's menu show their figures, but every notebook grows by 5 MB.

    On Colab the function first installs missing packages and removes a torchao that PEFT refuses (`remove_torchao`). Further
    lines are printed only if `doctor` finds a problem.

    Args:
        threads: CPU threads for torch; with None, torch chooses. The embedded models are too small to gain much from a second
            thread (``OMP_NUM_THREADS=1 make bench`` and ``=2`` show this), and on a busy machine two threads wait for each
            other.
        size: size of the letters in figures, controls and sentences; ``"large"`` is for a lecture. The size applies to what is
            made later; on Colab it applies to figures only.

    Raises:
        ValueError: ``threads`` is below 1, or ``size`` is unknown.
        RuntimeError: on Colab, pip could not install a missing package, or could not remove torchao.
    """
    here = where()
    if here.place == COLAB:
        _install_missing()
        remove_torchao()
        _enable_colab_widgets()
        here = where()  # asked again, because widgets may have been among the missing packages
    import plotly.io as pio
    import torch

    from coto_lab.figures.theme import page_css, set_text_size
    from coto_lab.notebook.renderers import use_renderer

    checked = None if threads is None else whole_number("threads", threads, 1)
    set_text_size(size)
    if checked is not None:
        torch.set_num_threads(checked)
    torch.manual_seed(0)  # for a reader's own random numbers; the lab does not use the global generator
    # PEFT uses an attribute that a coming transformers release will remove. A reader cannot change that.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
    fitting = _HTML_TOO if here.place == JUPYTER and is_nbclassic() else _RENDERERS.get(here.place, _KNOWN)
    use_renderer(os.environ.get("PLOTLY_RENDERER") or fitting)
    if here.place in (JUPYTER, VS_CODE):  # on Colab every output is a separate page, which this style sheet cannot reach
        from IPython.display import publish_display_data

        publish_display_data({"text/html": f"<style>{page_css()}</style>", "text/plain": ""})
    device = default_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else str(device).replace("cpu", "CPU")
    count = torch.get_num_threads()
    print(
        f"coto_lab {version_of('coto_lab')} in {here.place}, on {name} ({count} thread{'s' * (count > 1)}), "
        f"torch {version('torch').split('+')[0]}, peft {version('peft')}, {'live' if here.live else 'static'} figures by "
        f"{pio.renderers.default}, {here.scale('full', 'fast')} scale"
    )
    for complaint in doctor():
        print(f"doctor: {complaint}")
    return here


def remove_torchao() -> None:
    """On Colab, uninstall a torchao with which PEFT refuses to add adapters, and say so; in other places do nothing.

    PEFT uses torchao for quantised layers only, and nothing in the lab needs it. A newer torchao would not help: each version
    is built for one version of torch, and Colab's torch is not changed.

    Raises:
        RuntimeError: pip could not uninstall torchao.
    """
    if find_place() != COLAB or "torchao" not in refused_by_peft():
        return
    found = installed("torchao")
    command = [sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", "torchao"]
    done = subprocess.run(command, capture_output=True, text=True)
    importlib.invalidate_caches()
    if done.returncode or "torchao" in refused_by_peft():  # there may be a second copy, or a copy that pip does not know
        raise RuntimeError(f"pip could not uninstall torchao {found}:\n{done.stderr.strip()[-2000:]}")
    print(f"removed torchao {found}: PEFT cannot add adapters while it is installed, and nothing in the lab needs it")


def _install_missing() -> None:
    """Install the unmet requirements with pip; the version of torch does not change."""
    if not (unmet := unmet_requirements("colab")):
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
        print(f"{', '.join(stale)} was already in use: restart the kernel (Runtime > Restart), then run this cell again.")


def _install_command(requirements: list[str], held: Path) -> list[str]:
    return [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(held), *requirements]


def _enable_colab_widgets() -> None:
    from google.colab import output

    output.enable_custom_widget_manager()
