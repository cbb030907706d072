"""Small things: drawing gates, setting them, what a step of the callback takes, where backward stops, importing the package."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from statistics import median

import torch
from _setup import Scale
from _timing import in_turns, medians
from compiling import llama_with_lora
from llama import TINY, Shape
from torch.utils.flop_counter import FlopCounterMode
from transformers import TrainerControl, TrainerState, TrainingArguments

from coto_lab import CoTo, CoToCallback, Linear, Recipe, Training, attach_gates
from coto_lab.gating.checkpointing import let_backward_stop
from coto_lab.gating.coto import draw_mask

PROBABILITIES = (0.1, 0.5, 0.9)
_BLOCKS = 32
_ADAPTED = {"qkv": ["q_proj", "k_proj", "v_proj"], "all": "all-linear"}
_HUNDRED_MILLION = Shape(width=512, intermediate=1376, layers=_BLOCKS, heads=8, kv_heads=8, vocabulary=256, batch=1, tokens=128)
_CHECKPOINTED = Shape(width=256, intermediate=688, layers=12, heads=8, kv_heads=8, vocabulary=256, batch=1, tokens=128)


def drawing(scale: Scale) -> dict[str, float]:
    """Microseconds to draw the gates of 32 blocks, here and by redrawing; and to draw and set those of a model."""
    figures: dict[str, float] = {}
    for p in PROBABILITIES:
        steps = count()
        calls = {"ours": lambda p=p, steps=steps: draw_mask(_BLOCKS, p, 0, next(steps)), "redrawn": lambda p=p: redrawn(p)}
        taken = medians(calls, scale.draws)
        figures |= {f"gates.{name}.p{p}_us": 1e6 * value for name, value in taken.items()}
    coto: CoTo = Training(scale.task(), Recipe(schedule=Linear())).coto
    steps = count()
    figures["gates.set_us"] = 1e6 * medians({"set": lambda: coto.go_to(next(steps) % 600)}, scale.draws // 4)["set"]
    return figures


def callback(scale: Scale) -> dict[str, float]:
    """What `CoToCallback` does in a step (both events), beside that step: a Llama of 100 million parameters, one thread."""
    shape, figures, threads = TINY if scale.tiny else _HUNDRED_MILLION, {}, torch.get_num_threads()
    tokens = torch.zeros(shape.batch, shape.tokens, dtype=torch.long)
    torch.set_num_threads(1)
    for name, targets in _ADAPTED.items():
        model, coto = llama_with_lora(shape, targets).cpu(), CoToCallback()
        args, state, control = TrainingArguments(use_cpu=True, report_to=[]), TrainerState(max_steps=10_000), TrainerControl()
        coto.on_train_begin(args, state, control, model=model)

        def events(coto=coto, args=args, state=state, control=control) -> None:
            coto.on_step_begin(args, state, control)
            state.global_step += 1
            coto.on_step_end(args, state, control)

        def step(model=model) -> None:  # between two steps all gates are open: plain LoRA
            model(input_ids=tokens, labels=tokens).loss.backward()

        turns = in_turns({"step": step, "events": lambda events=events: [events() for _ in range(20)]}, scale.repeats)
        of_step, of_events = median(turns["step"]), median(turns["events"]) / 20
        figures |= {
            f"callback.{name}.step_us": 1e6 * of_events,
            f"callback.{name}.share_percent": 100 * of_events / of_step,
        }
    torch.set_num_threads(threads)
    return figures


def stopping(scale: Scale) -> dict[str, float]:
    """Operations of a backward pass under checkpointing with the top block alone open: through all blocks, and stopping."""
    shape, figures = TINY if scale.tiny else _CHECKPOINTED, {}
    tokens = torch.zeros(shape.batch, shape.tokens, dtype=torch.long)
    for name in ("through", "stopping"):
        model = llama_with_lora(shape).cpu()
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
        if name == "stopping":
            let_backward_stop(model)
        attach_gates(model).train_with(torch.arange(shape.layers) == shape.layers - 1)
        loss = model(input_ids=tokens, labels=tokens).loss
        with FlopCounterMode(display=False) as counter:
            loss.backward()
        figures[f"checkpointing.{name}_gflop"] = counter.get_total_flops() / 1e9
    return figures


def redrawn(p: float) -> torch.Tensor:
    """As the authors' README describes it: a uniform number per block, compared with p, until at least one opens."""
    while True:
        mask = torch.rand(_BLOCKS) < p
        if mask.any():
            return mask


def importing(scale: Scale) -> dict[str, float]:
    """Seconds that importing coto_lab adds to importing torch, each time in a fresh process."""
    code = "import time, torch; t = time.perf_counter(); import coto_lab; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", code]
    added = [float(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(scale.imports)]
    return {"import_s": median(added)}
