"""Processes that start at once: forks of a server that has imported the libraries."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

_LIBRARIES = [
    "coto_lab", "coto_lab.gating.callback", "transformers.models.vit.modeling_vit", "transformers.models.llama.modeling_llama",
    "peft", "accelerate", "datasets", "joblib", "sklearn.datasets",
]  # fmt: skip


def forks() -> ForkServerContext:
    """Starts such processes. The server computes nothing, so that its forks are safe and start small."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LIBRARIES)
    return context
