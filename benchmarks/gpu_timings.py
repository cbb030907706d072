"""Speed on an accelerator: CoTo ramps of a language model, many rows, curves, coalitions, the notebooks' main cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import scores
import torch
from _check import require
from _setup import FULL, QUICK, Scale, random_adapter
from _timing import Call, in_turns, medians, seconds
from compiling import compiling
from estimate import estimates
from llama import BILLION, TARGETS, TINY, Shape, Tokens
from peft import HiraConfig, LoraConfig, PeftConfig
from steps import stacked_step

from coto_lab import (
    CoTo,
    Evaluator,
    Linear,
    Recipe,
    Training,
    Variant,
    attach_gates,
    fit,
    interpolate,
    load_task,
    merge,
    prune,
    shapley,
)
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.ground.device import default_device
from coto_lab.probes.cost import spared
from coto_lab.studies.gallery import load_run
from coto_lab.tasks.part import Part

Timing = Callable[[], dict[str, float]]

ROWS = 16


@dataclass(frozen=True)
class Size:
    """How much is run: the language model, the steps of a ramp, examples on a curve, the scale of the vision tasks, and every
    how manieth test image the notebooks' cells score."""

    shape: Shape
    rank: int
    steps: int
    examples: int
    scale: Scale
    stride: int


WHOLE = Size(BILLION, rank=32, steps=80, examples=16, scale=FULL, stride=1)
QUICKLY = Size(TINY, rank=2, steps=4, examples=4, scale=QUICK, stride=40)


def _config(method: str, rank: int) -> PeftConfig:
    if method == "hira":
        return HiraConfig(r=rank, target_modules=list(TARGETS))
    return LoraConfig(r=rank, lora_alpha=2 * rank, use_dora=method == "dora", target_modules=list(TARGETS))


def ramp(size: Size, method: str, checkpointing: bool = False) -> dict[str, float]:
    """A whole CoTo ramp and as many steps with every adapter on, in turns on one model.

    With ``checkpointing``, of the kind that is not reentrant, backward stops at the lowest open block too, since the inputs
    are not made to require gradients.
    """
    device, shape = default_device(), size.shape
    task = Tokens(shape, torch.bfloat16, examples=shape.batch)
    tokens = task.batch("train", range(shape.batch))["input_ids"].to(device)
    model = add_adapter(task.load_base(), _config(method, size.rank)).train()
    if checkpointing:
        base = model.get_base_model()
        base.gradient_checkpointing_enable({"use_reentrant": False})
        base.disable_input_require_grads()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)
    gates = attach_gates(model)
    coto = CoTo(gates, Linear(), total_steps=size.steps)

    def step() -> None:
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):  # all gates open: kernels are chosen, moments made
        step()
    taken: dict[str, list[float]] = {"plain": [], "coto": []}
    peak: dict[str, list[float]] = {"plain": [], "coto": []}
    for t in range(size.steps):
        for name in ("plain", "coto") if t % 2 else ("coto", "plain"):
            gates.open()
            if name == "coto":
                coto.go_to(t)
            _reset_peak(device)
            taken[name].append(seconds(step))
            peak[name].append(_peak(device))
    closed, skipped = spared(coto.masks())
    key = f"ramp.{method}{'.checkpointing' if checkpointing else ''}"
    return {
        f"{key}.saving": 100 * (1 - sum(taken["coto"]) / sum(taken["plain"])),
        f"{key}.plain_ms": 1000 * median(taken["plain"]),
        f"{key}.coto_ms": 1000 * sum(taken["coto"]) / size.steps,
        f"{key}.plain_gib": max(peak["plain"]),
        f"{key}.coto_gib": max(peak["coto"]),
        f"{key}.coto_mean_gib": sum(peak["coto"]) / size.steps,
        "ramp.adapters_closed": 100 * closed,
        "ramp.backward_spared": 100 * skipped,
    }


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak(device: torch.device) -> float:
    """GiB that PyTorch allocated at most since the last reset; 0 where it does not count."""
    return torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0


def many_rows(size: Size) -> dict[str, float]:
    """A stacked step of 16 rows on the digits task, beside 16 steps of `fit`, taking turns."""
    recipe = Recipe(steps=size.scale.turns + 3)
    calls = {"many": stacked_step(size.scale.task(), recipe, ROWS), "fit": Training(size.scale.task(), recipe).step}
    in_turns(calls, 3)  # warms up
    taken = medians(calls, size.scale.turns)
    return {"fit_many.step_ms": 1000 * taken["many"], "fit_many.over_fits": ROWS * taken["fit"] / taken["many"]}


def curve(size: Size) -> dict[str, float]:
    """21 mixtures of two adapters of the language model: together, one by one, and the base alone, 21 times."""
    task = Tokens(size.shape, torch.bfloat16, examples=size.examples)
    pair = [random_adapter(task, seed, rank=8) for seed in range(2)]
    variants = [Variant(merge(pair, "fuse", [1 - i / 20, i / 20])) for i in range(21)]
    together, one_by_one = (Evaluator(task, batch_size=8, together=together) for together in (True, False))
    base = task.load_base().eval()
    calls: dict[str, Call] = {
        "together": lambda: together(variants),
        "one_by_one": lambda: one_by_one(variants),
        "base": lambda: [scores.losses_of(task, base, 8) for _ in variants],
    }
    in_turns(calls, 1)  # loads the bases
    require(bool(together._trees) and None not in together._trees.values(), "the mixtures were not scored together")
    taken = medians(calls, size.scale.repeats)
    return {
        **{f"curve.llama.{name}_s": value for name, value in taken.items()},
        "curve.llama.over_one_by_one": taken["one_by_one"] / taken["together"],
        "curve.llama.share_of_base": 100 * taken["base"] / taken["together"],
    }


def compiled(size: Size) -> dict[str, float]:
    """Steps with and without torch.compile, of eight blocks of the language model in bf16."""
    return compiling(size.scale, replace(size.shape, layers=min(8, size.shape.layers)), torch.bfloat16)


def notebooks(size: Size) -> dict[str, float]:
    """Seconds of what the notebooks' longest cells call, on the digits task."""
    task, steps = Part(load_task("digits"), size.stride), size.scale.live_steps
    runs = [load_run("coto-seed0"), load_run("coto-seed1")]
    calls: dict[str, Call] = {
        "train": lambda: [fit(task, Recipe(steps=steps, schedule=s), progress=False) for s in (Recipe().schedule, Linear())],
        "interpolate": lambda: interpolate(task, *runs),
        "prune": lambda: prune(task, runs[0]),
        "shapley": lambda: shapley(task, runs[0]),
    }
    return {f"notebooks.{name}_s": seconds(call) for name, call in calls.items()}


def timings(size: Size) -> dict[str, Timing]:
    """All of them by name, the most telling first: an interrupted run has those."""
    return {
        "ramp.lora": lambda: ramp(size, "lora"),
        "ramp.dora": lambda: ramp(size, "dora"),
        "ramp.hira": lambda: ramp(size, "hira"),
        "ramp.lora.checkpointing": lambda: ramp(size, "lora", checkpointing=True),
        "compile": lambda: compiled(size),
        "estimate": lambda: estimates(size.scale),
        "fit_many": lambda: many_rows(size),
        "curve.llama": lambda: curve(size),
        "curve.digits": lambda: scores.interpolation(size.scale),
        "shapley": lambda: scores.shapley(size.scale),
        "notebooks": lambda: notebooks(size),
    }
