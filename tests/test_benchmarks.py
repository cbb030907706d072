"""The benchmarks run, and say what they promise; how fast anything is, no test asks."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The catalogue and the parts, as the command sees them."""
    monkeypatch.syspath_prepend(FOLDER)
    return import_module("gpu")


def test_the_command_writes_every_figure(tmp_path: Path, imported: ModuleType) -> None:
    command = [sys.executable, "-W", "error", str(FOLDER / "bench.py"), "--quick", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    about = written.pop("machine")

    catalogue = import_module("catalogue")
    on_gpu = about["device"] != "cpu"
    assert list(written) == list(catalogue.FIGURES | (catalogue.GPU_FIGURES if on_gpu else {}))
    assert all(math.isfinite(value) for value in written.values())
    assert {"threads", "cpus", "device", "torch"} <= about.keys() and about["threads"] >= 1
    assert ("no GPU here" in done.stdout) == (not on_gpu)
    lines = done.stdout.splitlines()
    for key, figure in catalogue.FIGURES.items():
        assert any(line.startswith(f"{figure.label} ") and f"{written[key]:.4g}" in line for line in lines), key


def test_the_part_for_a_gpu_on_the_cpu(imported: ModuleType) -> None:
    setup, catalogue = import_module("_setup"), import_module("catalogue")
    with torch.random.fork_rng(devices=[]):
        figures = imported.llama(torch.device("cpu"), imported.TINY) | imported.many_rows(setup.QUICK)
    assert list(figures) == list(catalogue.GPU_FIGURES)
    assert all(math.isfinite(value) for value in figures.values())
    assert figures["gpu.llama.lora_ms"] > 0 and figures["gpu.fit_many.step_ms"] > 0


def test_the_shape_for_a_gpu_has_a_billion_parameters(imported: ModuleType) -> None:
    shape = imported.Shape()
    with torch.device("meta"):
        assert sum(p.numel() for p in imported.random_llama(shape).parameters()) == pytest.approx(1.1e9, rel=0.05)
