"""What a notebook's setup cell does. Nothing else in the package knows where it runs."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import version


def setup(threads: int | None = None) -> None:
    """Choose the figures' renderer, quieten what readers cannot mend, and print one line that says where this runs.

    Args:
        threads: CPU threads for torch; None leaves its choice. The embedded models are too small to gain much from a second
            one (``OMP_NUM_THREADS=1 make bench`` and ``=2`` show it), and on a busy machine two wait for each other.
    """
    import plotly.io as pio
    import torch

    from coto_lab.evaluation import default_device
    from coto_lab.figures import CONFIG

    if threads is not None:
        torch.set_num_threads(threads)
    # PEFT asks transformers in a way that a coming release will not answer; nothing a reader could change.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
    place = _place()
    pio.renderers.default = {"a script": "json", "Colab": "colab"}.get(place, "plotly_mimetype")
    pio.renderers[pio.renderers.default].config = CONFIG
    device = default_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else str(device).replace("cpu", "CPU")
    count = torch.get_num_threads()
    print(
        f"coto_lab {version('coto_lab')} in {place}, on {name} ({count} thread{'s' * (count > 1)}), "
        f"torch {version('torch').split('+')[0]}, peft {version('peft')}, figures by {pio.renderers.default}"
    )


def _place() -> str:
    if "google.colab" in sys.modules:
        return "Colab"
    if "VSCODE_PID" in os.environ:
        return "VS Code"
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return "Jupyter" if hasattr(shell, "kernel") else "a script"
