"""What a notebook's setup cell does. Nothing else in the package knows where it runs."""

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
from coto_lab.notebook.diagnosis import doctor, installed, refused_by_peft, unmet_requirements
from coto_lab.notebook.place import COLAB, DATABRICKS, HEADLESS, JUPYTER, KAGGLE, SCRIPT, VS_CODE, Here, find_place, where
from coto_lab.notebook.server import is_nbclassic

# JupyterLab and VS Code know plotly's own type of output. A page that knows only HTML needs 5 MB of JavaScript in the notebook:
# nbconvert writes such pages, and the classic Notebook is one. Notebook 6 starts its kernels as if they were headless.
_KNOWN, _HTML_TOO = "plotly_mimetype", "plotly_mimetype+notebook"
_RENDERERS = {SCRIPT: "json", COLAB: "colab", KAGGLE: "kaggle", DATABRICKS: "databricks", HEADLESS: _HTML_TOO}


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

    from coto_lab.figures.theme import page_css, set_text_size
    from coto_lab.notebook.renderers import use_renderer

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


def remove_torchao() -> None:
    """On Colab, uninstall a torchao beside which PEFT makes no adapter, and say so; anywhere else do nothing.

    PEFT uses torchao for quantised layers only, and nothing in the lab needs it. A newer one is no way out: each is built for
    one torch, and Colab's torch stays as it is.

    Raises:
        RuntimeError: pip could not uninstall it.
    """
    if find_place() != COLAB or "torchao" not in refused_by_peft():
        return
    found = installed("torchao")
    command = [sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", "torchao"]
    done = subprocess.run(command, capture_output=True, text=True)
    importlib.invalidate_caches()
    if done.returncode or "torchao" in refused_by_peft():  # there may be another copy, or one that pip does not know
        raise RuntimeError(f"pip could not uninstall torchao {found}:\n{done.stderr.strip()[-2000:]}")
    print(f"removed torchao {found}: PEFT cannot add adapters while it is installed, and nothing in the lab needs it")


def _install_missing() -> None:
    """Have pip install what is not met, with this machine's torch held as it is."""
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
        print(f"{', '.join(stale)} was in use already: restart the kernel (Runtime > Restart), then run this cell again.")


def _install_command(requirements: list[str], held: Path) -> list[str]:
    return [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(held), *requirements]


def _enable_colab_widgets() -> None:
    from google.colab import output

    output.enable_custom_widget_manager()
