"""What torch.compile brings: a step of LoRA and of CoTo, with and without it, and how long the graphs take to make."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from statistics import mean

import torch
from _setup import Scale
from _timing import in_turns, seconds
from llama import TINY, Shape, random_llama
from peft import LoraConfig, get_peft_model
from torch import nn

from coto_lab import Constant, CoTo, attach_gates

MIDDLE = Shape(width=256, intermediate=688, layers=8, heads=8, kv_heads=8, vocabulary=1024, batch=4, tokens=128)


def compiling(scale: Scale, shape: Shape | None = None, dtype: torch.dtype = torch.float32) -> dict[str, float]:
    """Milliseconds of a step, and the seconds of the first steps, in which graphs are made.

    The gates of CoTo open with probability 0.5, so each step has another mask. The model is compiled as a whole.

    Args:
        scale: how many steps.
        shape: of the model; None takes one for a CPU.
        dtype: of its weights.
    """
    shape = shape or (TINY if scale.tiny else MIDDLE)
    figures: dict[str, float] = {}
    steps: dict[str, Callable[[], None]] = {}
    for method in ("lora", "coto"):
        for how in ("eager", "compiled"):
            torch.manual_seed(0)
            model = llama_with_lora(shape, dtype=dtype)
            coto = CoTo(attach_gates(model), Constant(0.5), total_steps=1000) if method == "coto" else None
            if how == "compiled":
                model.compile(backend="eager" if scale.tiny else "inductor")
            step = steps[f"{method}.{how}"] = step_of(model, coto, shape)
            warm_up = sum(seconds(step) for _ in range(scale.graph_steps))
            if how == "compiled":
                figures[f"compile.{method}.warm_up_s"] = warm_up
    for step in steps.values():  # once more: the graphs of LoRA are made again after gates were attached to another model
        step()
    taken = {name: mean(values) for name, values in in_turns(steps, scale.turns).items()}  # masks differ, so no medians
    for method in ("lora", "coto"):
        eager, compiled = taken[f"{method}.eager"], taken[f"{method}.compiled"]
        figures |= {
            f"compile.{method}.eager_ms": 1000 * eager,
            f"compile.{method}.compiled_ms": 1000 * compiled,
            f"compile.{method}.speedup": eager / compiled,
        }
    return figures


def llama_with_lora(shape: Shape, targets: str | list[str] = "all-linear", dtype: torch.dtype = torch.float32) -> nn.Module:
    """A Llama with random weights, and LoRA of rank 8 in float32."""
    return get_peft_model(random_llama(shape, dtype), LoraConfig(r=8, target_modules=targets)).train()


def step_of(model: nn.Module, coto: CoTo | None, shape: Shape) -> Callable[[], None]:
    """A whole training step, on other random tokens and, with CoTo, with other gates each time."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)
    device, seeds = next(model.parameters()).device, count()

    def step() -> None:
        generator = torch.Generator().manual_seed(next(seeds))
        tokens = torch.randint(shape.vocabulary, (shape.batch, shape.tokens), generator=generator).to(device)
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if coto is not None:
            coto.step()

    return step
