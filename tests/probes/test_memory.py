"""Weights as they will be stored; the rest of `Memory` is tested with `estimate`."""

from __future__ import annotations

import pytest
import tiny_models as tiny
import torch

from coto_lab.adapters.peft_model import add_adapter
from coto_lab.probes.memory import GIB, device_memory, in_words, memory_of

ATTENTION, MLP, EMBEDDING = 4 * 16 * 16, 3 * 16 * 24, 32 * 16  # of a block of the tiny Llama, and of its embeddings
LINEAR, OTHER = 3 * (ATTENTION + MLP), 2 * EMBEDDING + 7 * 16  # embeddings, head and norms stay as they are
ADAPTER = 3 * 2 * (2 * 16 * 2) * 4  # three blocks, two modules, A and B of rank 2, in float32


def weights(dtype: torch.dtype = torch.float32, **changes: object) -> int:
    model = add_adapter(tiny.llama().to(dtype), tiny.lora(tiny.TARGETS))
    memory = memory_of(model, activations=0, checkpointed=None, moments=2, **changes)
    assert (memory.gradients, memory.optimiser) == (ADAPTER, 2 * ADAPTER)
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    return memory.weights - ADAPTER - buffers


def test_weights_by_hand() -> None:
    assert weights() == 4 * (LINEAR + OTHER)
    assert weights(torch.bfloat16) == 2 * (LINEAR + OTHER)
    assert weights(torch.bfloat16, quantised="int8") == LINEAR + 2 * OTHER
    assert weights(torch.float32, quantised="int8") == LINEAR + 4 * OTHER, "what is not quantised stays as it is"
    assert weights(torch.bfloat16, quantised="nf4") == LINEAR * 4.5 / 8 + 2 * OTHER
    assert weights(torch.bfloat16, quantised="nf4", whole=["mlp"]) == 3 * ATTENTION * 4.5 / 8 + 2 * (3 * MLP + OTHER)


@pytest.mark.parametrize(
    ("dtype", "quantised", "stored", "smaller"),
    [
        (torch.float32, None, "float32", ["bfloat16", "nf4"]),
        (torch.bfloat16, None, "bfloat16", ["nf4"]),
        (torch.bfloat16, "int8", "int8", ["nf4"]),
        (torch.bfloat16, "nf4", "nf4", []),
    ],
)
def test_what_would_be_smaller(dtype: torch.dtype, quantised: str | None, stored: str, smaller: list[str]) -> None:
    model = add_adapter(tiny.llama().to(dtype), tiny.lora(tiny.TARGETS))
    memory = memory_of(model, activations=0, checkpointed=None, moments=2, quantised=quantised)
    assert memory.stored == stored and list(memory.other_weights) == smaller
    assert all(n_bytes < memory.weights for n_bytes in memory.other_weights.values())


def test_a_checkpointed_part_that_is_not_known_is_left_empty() -> None:
    model = add_adapter(tiny.llama(), tiny.lora(tiny.TARGETS))
    memory = memory_of(model, activations=100, checkpointed=None, moments=2, checkpoints=True)
    assert memory.total == memory.weights + memory.gradients + memory.optimiser + 100
    assert memory.parts()["activations with checkpointing"] != memory.parts()["activations with checkpointing"]


def test_words_and_this_machine() -> None:
    assert (in_words(1.5 * GIB), in_words(GIB / 4)) == ("1.5 GiB", "256.0 MiB")
    assert device_memory() > GIB / 4
