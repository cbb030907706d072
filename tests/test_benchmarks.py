"""The benchmarks run, and say what they promise; how fast anything is, no test asks."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
RESULTS = sorted((FOLDER / "gpu_results").glob("*-[0-9].json"))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts are imported as the commands import them."""
    monkeypatch.syspath_prepend(FOLDER)


def part(name: str) -> ModuleType:
    return import_module(name)


def test_the_command_writes_every_figure(tmp_path: Path) -> None:
    command = [sys.executable, FOLDER / "bench.py", "--quick", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    about = written.pop("machine")

    figures = part("catalogue").FIGURES
    assert list(written) == list(figures)
    assert all(math.isfinite(value) for value in written.values())
    assert {"threads", "cpus", "device", "torch"} <= about.keys() and about["threads"] >= 1
    lines = done.stdout.splitlines()
    for key, figure in figures.items():
        assert any(line.startswith(f"{figure.label} ") and f"{written[key]:.4g}" in line for line in lines), key


# For an accelerator


CHECKS = [
    "gates.float32", "gates.bf16", "resumed", "bf16_base", "checkpointing", "stored.bf16", "evaluator.float32", "evaluator.bf16"
]  # fmt: skip
IN_A_PROCESS = [
    "fit_against_cpu",
    "bf16_autocast",
    "compiled",
    "trainer",
]  # they would leave traces in ours
AS_THE_COMMAND_DOES = "fit_many_against_fit"  # the processes that it starts would keep a fork from ending
ON_A_GPU = ["stored.int8", "stored.nf4"]  # with bitsandbytes
EVERY_CHECK = [*CHECKS, *IN_A_PROCESS, AS_THE_COMMAND_DOES, *ON_A_GPU]


def test_every_check_is_tested() -> None:
    assert sorted(part("gpu_checks").CHECKS) == sorted(EVERY_CHECK)


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_for_a_gpu_holds_on_the_cpu(name: str) -> None:
    assert all(math.isfinite(value) for value in part("gpu_checks").CHECKS[name]().values())


@pytest.fixture(scope="module")
def forks() -> Iterator[ProcessPoolExecutor]:
    """Each check gets a process of its own, a fork of one that has only imported the checks: their imports take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(FOLDER), prepend=os.pathsep)
        context = get_context("forkserver")
        context.set_forkserver_preload(["gpu_checks"])
        with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
            yield pool


@pytest.mark.parametrize("name", IN_A_PROCESS)
def test_a_check_for_a_gpu_holds_in_a_process_of_its_own(name: str, forks: ProcessPoolExecutor) -> None:
    figures = forks.submit(part("gpu_checks").CHECKS[name]).result()
    assert all(math.isfinite(value) for value in figures.values())


def test_a_check_for_a_gpu_holds_where_the_command_runs_it() -> None:
    assert all(math.isfinite(value) for value in part("gpu_checks").run_alone(AS_THE_COMMAND_DOES).values())


def test_gates_that_do_not_shut_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from coto_lab import Gates

    monkeypatch.setattr(Gates, "close", lambda self, which: None)
    with pytest.raises(part("_check").Wrong, match="shut"):
        part("gpu_gates").gates(torch.float32)


def test_the_timings_give_every_figure() -> None:
    timings, catalogue = part("gpu_timings"), part("catalogue")
    with torch.random.fork_rng(devices=[]):
        parts = {name: part for name, part in timings.timings(timings.QUICKLY).items() if name not in ("compile", "estimate")}
        figures = {key: value for part in parts.values() for key, value in part().items()}  # those two are parts of bench.py
    shared = {key for key in figures if key in catalogue.FIGURES}
    assert set(figures) == set(catalogue.GPU_FIGURES) | shared and {"interpolation.over_loop", "shapley12.over_loop"} <= shared
    assert all(math.isfinite(value) for value in figures.values())


def test_what_breaks_is_reported_and_the_rest_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> dict[str, float]:
        raise part("_check").Wrong("the gates are stuck")

    report = part("gpu").Report(tmp_path / "gpu.json")
    report.add("checks", "first", broken)
    report.add("figures", "second", lambda: {"second.ms": 2.0})
    written = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert written["failed"] == {"first": "Wrong: the gates are stuck"} and written["figures"] == {"second.ms": 2.0}
    assert "first: Wrong: the gates are stuck" in capsys.readouterr().out


@pytest.mark.parametrize("name", ON_A_GPU)
def test_a_check_that_needs_a_package_names_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coto_lab.tasks.hub.quantised.find_spec", lambda package: None)
    with pytest.raises(ImportError, match="pip install bitsandbytes"):
        part("gpu_checks").CHECKS[name]()


def test_a_check_that_breaks_says_how() -> None:
    with pytest.raises(part("_check").Wrong, match="KeyError: 'no such check'"):
        part("gpu_checks").run_alone("no such check")


def test_without_an_accelerator_the_command_says_what_it_would_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(part("gpu"), "default_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    part("gpu").main()
    said = capsys.readouterr().out
    assert "--quick" in said
    assert all(f"  {name}: " in said for name in EVERY_CHECK)


def test_the_shape_for_a_gpu_has_a_billion_parameters() -> None:
    llama = part("llama")
    with torch.device("meta"):
        model = llama.AutoModelForCausalLM.from_config(llama.config_of(llama.BILLION))
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(1.1e9, rel=0.05)


H100, H200 = "NVIDIA H100 80GB HBM3", "NVIDIA H200"
QUOTED = {
    "training time that CoTo saved with LoRA": "ramp.lora.saving",
    "with LoRA and checkpointing, not reentrant": "ramp.lora.checkpointing.saving",
    "with DoRA": "ramp.dora.saving",
    "with HiRA": "ramp.hira.saving",
    "a step of 16 digits runs at once, times as fast as 16 steps": "fit_many.over_fits",
    "Shapley values of 12 blocks, times as fast as a loop": "shapley12.over_loop",
    "a curve of 21 points on the digits, times as fast as a loop": "interpolation.over_loop",
    "a curve of 21 points on the language model, times as fast as one by one": "curve.llama.over_one_by_one",
    "with `torch.compile`, 8 blocks: a LoRA step, times as fast": "compile.lora.speedup",
    "with `torch.compile`, 8 blocks: a CoTo step, times as fast": "compile.coto.speedup",
    "400 steps each of LoRA and CoTo on the digits, s": "notebooks.train_s",
}


def said(key: str, card: str) -> str:
    """What was measured on a card, as the README says it."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS]
    values = sorted(run["figures"][key] for run in runs if run["machine"]["device"] == card and key in run["figures"])
    ends = list(dict.fromkeys(f"{value:.1f}" for value in values))
    if not ends:
        return "not measured"
    return " to ".join(ends) + "%" * key.endswith("saving") + " (one run)" * (card == H100 and len(values) == 1)


@pytest.mark.parametrize("label", QUOTED)
def test_the_readme_quotes_what_was_measured_on_a_gpu(label: str) -> None:
    row = f"| {label} | {said(QUOTED[label], H100)} | {said(QUOTED[label], H200)} |"
    assert row in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()


def test_sentences_about_the_gpu_are_what_was_measured() -> None:
    run = json.loads((FOLDER / "gpu_results" / "nvidia-h200-1.json").read_text(encoding="utf-8"))
    figures, readme = run["figures"], (ROOT / "README.md").read_text(encoding="utf-8")
    times = [value for key, value in figures.items() if key.startswith("estimate.") and key.endswith(".time")]
    memories = [value for key, value in figures.items() if key.startswith("estimate.") and ".memory" in key]
    assert f"{min(times):.2f} to {max(times):.2f} times the time" in readme
    assert f"{min(memories):.2f} to {max(memories):.2f} times the memory" in readme
    assert f"{run['checks']['fit_against_cpu']['lora_weights']:.1e}".replace("e-06", "e-6") in readme
    gates = (ROOT / "coto_lab/gating/README.md").read_text(encoding="utf-8")
    for method in ("lora", "coto"):
        assert f"{figures[f'compile.{method}.speedup']:.2f} times" in gates
        assert f"{figures[f'compile.{method}.warm_up_s']:.1f} s" in gates
    assert f"{figures['compile.coto.compiled_ms']:.1f} ms instead of {figures['compile.coto.eager_ms']:.1f} ms" in gates


def test_every_check_held_on_the_newest_gpu() -> None:
    run = json.loads((FOLDER / "gpu_results" / "nvidia-h200-1.json").read_text(encoding="utf-8"))
    assert run["failed"] == {} and list(run["checks"]) == list(part("gpu_checks").CHECKS)
