"""What `estimate` foretells beside what a training then takes: ``python benchmarks/estimate.py [--quick]``.

The aim is a ratio from 0.8 to 1.2. Time is that of `fit` as a whole, also of loading the base. Memory is what a real step
allocates at its peak, by PyTorch's profiler, and beside it the weights and the optimiser's state.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from _report import table
from _setup import FULL, QUICK, Scale
from catalogue import FIGURES
from datasets import Dataset
from llama import Shape, Tokens, config_of
from torch.profiler import profile
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, BertConfig, PreTrainedModel

from coto_lab import Classification, Constant, Linear, Recipe, Training, fit, load_task
from coto_lab.ground.device import default_device
from coto_lab.probes.estimate import estimate
from coto_lab.tasks import Task


@dataclass(frozen=True, eq=False)
class Sentences(Classification):
    """Random tokens in two classes, for a BERT that need not be made to say what it costs."""

    config: BertConfig | None = None

    def skeleton(self) -> PreTrainedModel:
        """All shapes, no weights."""
        with torch.device("meta"):
            return AutoModelForSequenceClassification.from_config(self.config)


def bert(scale: Scale) -> Task:
    """Of the size of MiniLM-L6: 6 blocks of width 384, with sentences of 32 tokens."""
    width = 6 * scale.width
    config = BertConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=6, num_attention_heads=12, num_labels=2
    )
    tokens = torch.randint(1, config.vocab_size, (256, 32), generator=torch.Generator().manual_seed(0))
    columns = {"input_ids": tokens.numpy(), "labels": (torch.arange(256) % 2).numpy()}
    data = Dataset.from_dict(columns).with_format("torch")

    def load_base() -> PreTrainedModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return AutoModelForSequenceClassification.from_config(config)

    return Sentences("sentences", "random bert", load_base, data, data, ("a", "b"), ("query", "key", "value"), config=config)


class Letters(Tokens):
    """Random tokens for a Llama."""

    def skeleton(self) -> PreTrainedModel:
        """All shapes, no weights."""
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config_of(self.shape, self.attention), dtype=self.dtype)


def llama(scale: Scale) -> Task:
    """Eight blocks of width 256, with texts of 64 tokens."""
    width = 4 * scale.width
    shape = Shape(width, 2 * width, layers=8, heads=4, kv_heads=2, vocabulary=1000, batch=8, tokens=64)
    return Letters(shape, torch.float32)


CASES: dict[str, tuple[Callable[[Scale], Task], Recipe]] = {
    "digits": (lambda scale: load_task("digits"), Recipe()),
    "strings": (lambda scale: load_task("strings/rotate-back"), Recipe(r=8)),
    "bert": (bert, Recipe(r=8, lr=1e-3, batch_size=16)),
    "llama": (llama, Recipe(r=8, lr=1e-3, batch_size=8)),
}


def estimates(scale: Scale) -> dict[str, float]:
    """Measured divided by estimated, for LoRA and for a whole CoTo ramp on four models."""
    figures: dict[str, float] = {}
    for name, (make, recipe) in CASES.items():
        task, recipe = make(scale), replace(recipe, schedule=Linear(), steps=max(4, scale.ramp_steps // 4))
        found = estimate(task, recipe, seconds=scale.turns / 4)
        for method, schedule in (("LoRA", Constant()), ("CoTo", recipe.schedule)):
            started = time.perf_counter()
            fit(task, replace(recipe, schedule=schedule), progress=False)
            taken = time.perf_counter() - started
            figures[f"estimate.{name}.{method.lower()}.time"] = taken / found.seconds[method]
        memory = found.memory
        training = Training(task, replace(recipe, schedule=Constant()))
        figures[f"estimate.{name}.memory"] = _peak(training) / memory.total
        training.model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
        checkpointing = memory.total - memory.activations + memory.checkpointed
        figures[f"estimate.{name}.memory_checkpointing"] = _peak(training) / checkpointing
    return figures


def _peak(training: Training) -> float:
    """Bytes of tensors at the peak of a step."""
    training.step()
    kept = [value for state in training.optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    held = sum(tensor.nbytes for tensor in (*training.model.parameters(), *training.model.buffers(), *kept))
    if default_device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        training.step()
        return held + torch.cuda.max_memory_allocated() - before
    with profile(profile_memory=True) as profiled:
        training.step()
    live = peak = 0
    for event in sorted(profiled.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return held + peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny models: shows that everything runs, measures nothing")
    print(table(estimates(QUICK if parser.parse_args().quick else FULL), FIGURES))


if __name__ == "__main__":
    main()
