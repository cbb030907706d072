"""On an accelerator: absolute step times of LoRA and CoTo on a language model's shape, and ``fit_many`` at 16 rows."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import torch
from _setup import Scale
from _timing import in_turns, medians, seconds
from peft import LoraConfig, get_peft_model
from training import stacked_step
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from coto_lab import CoTo, Linear, Recipe, Training, attach_gates

ROWS = 16


@dataclass(frozen=True)
class Shape:
    """A Llama, the batch that it trains on, and the rank of its adapters. The default has 1.1 billion parameters."""

    width: int = 2048
    intermediate: int = 8192
    layers: int = 16
    heads: int = 32
    kv_heads: int = 8
    vocabulary: int = 32_000
    batch: int = 4
    tokens: int = 512
    rank: int = 16
    steps: int = 80


TINY = Shape(32, 64, 3, 4, 2, 64, 2, 8, 2, 6)


def random_llama(shape: Shape) -> PreTrainedModel:
    """The model in bf16 with random weights, on the default device."""
    config = LlamaConfig(
        hidden_size=shape.width,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        max_position_embeddings=shape.tokens,
        use_cache=False,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)


def llama(device: torch.device, shape: Shape) -> dict[str, float]:
    """A CoTo ramp and as many LoRA steps, in turns on one model, LoRA on q, k, v and o."""
    with device:
        base = random_llama(shape)
        tokens = torch.randint(shape.vocabulary, (shape.batch, shape.tokens))
    n_parameters = sum(p.numel() for p in base.parameters())
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    model = get_peft_model(base, LoraConfig(r=shape.rank, lora_alpha=2 * shape.rank, target_modules=targets)).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)
    gates = attach_gates(model)
    coto = CoTo(gates, Linear(), total_steps=shape.steps)

    def step() -> None:
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):  # all gates open: kernels are chosen, moments made
        step()
    taken: dict[str, list[float]] = {"lora": [], "coto": []}
    peak: dict[str, list[float]] = {"lora": [], "coto": []}
    for t in range(shape.steps):
        for name in ("lora", "coto") if t % 2 else ("coto", "lora"):
            gates.open()
            if name == "coto":
                coto.go_to(t)
            _reset_peak(device)
            taken[name].append(seconds(step))
            peak[name].append(_peak(device))
    lora, ramp = median(taken["lora"]), sum(taken["coto"]) / shape.steps
    return {
        "gpu.llama.parameters_billion": n_parameters / 1e9,
        "gpu.llama.lora_ms": 1000 * lora,
        "gpu.llama.coto_ms": 1000 * ramp,
        "gpu.llama.saving": 100 * (1 - sum(taken["coto"]) / sum(taken["lora"])),
        "gpu.llama.lora_gib": max(peak["lora"]),
        "gpu.llama.coto_gib": sum(peak["coto"]) / shape.steps,
    }


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak(device: torch.device) -> float:
    """GiB that PyTorch allocated at most since the last reset; 0 where it does not count."""
    return torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0


def many_rows(scale: Scale) -> dict[str, float]:
    """A stacked step of 16 rows on the digits task, beside 16 steps of `fit`, taking turns."""
    recipe = Recipe(steps=scale.turns + 3)
    calls = {"many": stacked_step(scale.task(), recipe, ROWS), "fit": Training(scale.task(), recipe).step}
    in_turns(calls, 3)  # warms up
    taken = medians(calls, scale.turns)
    return {"gpu.fit_many.step_ms": 1000 * taken["many"], "gpu.fit_many.over_fits": ROWS * taken["fit"] / taken["many"]}
