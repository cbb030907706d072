"""Shared fixtures: the embedded task, a tiny one whose steps take milliseconds, and short runs on it."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import shapes

shapes.install()  # first of all: other helpers of the tests import coto_lab

import pytest
import torch
from datasets import Dataset
from tiny_models import vit
from torch import nn

from coto_lab import Classification, Evaluator, Linear, Recipe, Run, Task, fit, load_task

# `make test` runs these after all others: other processes, kernels, environments and trainers, compilers, whole benchmarks, and
# what trains or scores real models most of the time. A single test that takes several seconds has the mark `slow` itself.
SLOW = (
    "clusters", "examples", "exercises", "playground", "processes", "report", "studies", "tasks/hub", "trainers", "widgets",
    "test_benchmarks.py", "test_environments.py", "test_pages.py", "test_solutions.py", "test_switches.py",
    "gating/test_callback_bad_input.py", "gating/test_callback_events.py", "gating/test_compiling.py", "gating/test_ranks.py",
    "merging/test_rule.py", "notebook/test_colab.py", "notebook/test_kernels.py", "notebook/test_renderers.py",
    "notebook/test_setup.py", "probes/test_estimate.py", "scoring/test_processes.py", "tasks/test_docstrings.py",
    "tasks/test_strings.py", "training/test_jobs.py", "training/test_many_by_ranks.py", "training/test_two_processes.py",
)  # fmt: skip

# These come first, so that no process is left with one of them at the end. Each takes minutes.
LONGEST = (
    "test_solutions.py", "test_environments.py", "notebook/test_kernels.py", "clusters/test_killed_worker.py",
    "test_benchmarks.py", "gating/test_compiling.py", "test_pages.py",
)  # fmt: skip


TESTS = Path(__file__).parent


def _is_slow(path: Path) -> bool:
    return any(path.is_relative_to(TESTS / slow) for slow in SLOW)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The import of trainers, clusters and notebooks takes time, too."""
    return True if config.option.markexpr == "not slow" and _is_slow(collection_path) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_slow(item.path):
            item.add_marker(pytest.mark.slow)
    order = {TESTS / file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(scope="session")
def task() -> Classification:
    return load_task("digits")


def _load_tiny_vit() -> nn.Module:
    with torch.random.fork_rng():  # vit() seeds the global generator
        model = vit(layers=4)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(10)  # the usual deviation of 0.02 is meant for wide layers; here it makes almost constants
    return model


def _blobs(n: int, seed: int) -> Dataset:
    """Three classes of noisy images, easy to tell apart."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(n) % 3
    images = centres[labels] + torch.randn(n, 1, 8, 8, generator=generator) / 2
    return Dataset.from_dict({"pixel_values": images.numpy(), "labels": labels.numpy()}).with_format("torch")


@pytest.fixture(scope="session")
def tiny_task() -> Classification:
    classes, targets = ("a", "b", "c"), ("q_proj", "v_proj")
    return Classification("tiny", "tiny base", _load_tiny_vit, _blobs(30, 1), _blobs(45, 2), classes, targets)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """CoTo with everything random switched on."""
    return Recipe(r=2, dropout=0.2, schedule=Linear(), steps=16, batch_size=8, weight_decay=0.1)


@pytest.fixture(scope="session")
def runs(tiny_task: Task, recipe: Recipe) -> tuple[Run, Run]:
    """Two seeds on the tiny task."""
    return fit(tiny_task, recipe, progress=False), fit(tiny_task, replace(recipe, seed=1), progress=False)


@pytest.fixture(scope="session")
def evaluator(tiny_task: Task) -> Evaluator:
    return Evaluator(tiny_task)


@contextmanager
def _full_disk(n_bytes: int = 2000) -> Iterator[None]:
    # No file may grow beyond the limit: writes fail with an OSError of the operating system, as on a full disk.
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def full_disk() -> type[AbstractContextManager]:
    return _full_disk  # type: ignore[return-value]


@pytest.fixture
def colab(monkeypatch):
    """The module that Colab has, as far as the lab uses it; counts how often custom widgets were enabled."""
    package, output = types.ModuleType("google.colab"), types.ModuleType("google.colab.output")
    output.enabled = 0

    def enable_custom_widget_manager():
        output.enabled += 1

    output.enable_custom_widget_manager = enable_custom_widget_manager
    package.output = output
    monkeypatch.setitem(sys.modules, "google.colab", package)
    monkeypatch.setitem(sys.modules, "google.colab.output", output)
    return output


@pytest.fixture
def in_a_kernel(monkeypatch):
    """As far as `where` can tell."""
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=1)))
