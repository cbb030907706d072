"""Gates on an accelerator, against PEFT's own switch, bit by bit; and under gradient checkpointing."""

from __future__ import annotations

import torch
from _check import require
from llama import SMALL, TARGETS, random_llama
from peft import LoraConfig
from torch import Tensor, nn

from coto_lab import attach_gates
from coto_lab.adapters.layers import find_adapter_layers
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.gating.coto import draw_mask
from coto_lab.ground.device import default_device


def adapted(dtype: torch.dtype) -> nn.Module:
    """A Llama with LoRA factors of which none is zero. Eager attention: the backward of the others adds in any order."""
    config = LoraConfig(r=8, target_modules=list(TARGETS), init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return add_adapter(random_llama(SMALL, dtype, "eager"), config).train()


def training_pass(model: nn.Module, tokens: Tensor) -> tuple[Tensor, list[Tensor | None]]:
    """The logits, and the gradients of the parameters that train."""
    model.zero_grad()
    output = model(input_ids=tokens, labels=tokens)
    output.loss.backward()
    return output.logits.detach(), [p.grad for p in model.parameters() if p.requires_grad]


def random_tokens() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(SMALL.vocabulary, (SMALL.batch, SMALL.tokens), generator=generator).to(default_device())


def _same(a: list[Tensor | None], b: list[Tensor | None]) -> bool:
    return all(x is y is None or (x is not None and y is not None and torch.equal(x, y)) for x, y in zip(a, b, strict=True))


def gates(dtype: torch.dtype) -> dict[str, float]:
    """Gates change no bit: open ones give PEFT's logits and gradients, shut ones what PEFT's own switch gives."""
    base, tokens = random_llama(SMALL, dtype, "eager").train(), random_tokens()
    bare = base(input_ids=tokens).logits.detach()
    model = adapted(dtype)
    plain, again = training_pass(model, tokens), training_pass(model, tokens)
    require(torch.equal(again[0], plain[0]) and _same(again[1], plain[1]), "PEFT itself differs from run to run")

    gates = attach_gates(model)
    opened = training_pass(model, tokens)
    require(torch.equal(opened[0], plain[0]) and _same(opened[1], plain[1]), "with all gates open, not what PEFT computes")
    gates.close(range(len(gates)))
    require(torch.equal(model(input_ids=tokens).logits, bare), "with all gates shut, not what the base computes")
    gates.open()
    half = torch.arange(len(gates)) % 2 == 0
    gates.train_with(half)
    gated = training_pass(model, tokens)
    gates.detach()

    shut = {name for name, mine in zip(gates.modules, half[gates.gate_of_module].tolist(), strict=True) if not mine}
    for name, layer in find_adapter_layers(model).items():
        if any(name.endswith(other) for other in shut):
            layer._disable_adapters = True
    switched = training_pass(model, tokens)
    require(torch.equal(gated[0], switched[0]), "with half of the gates open, not the logits of PEFT's own switch")
    require(_same(gated[1], switched[1]), "with half of the gates open, not the gradients of PEFT's own switch")
    return {"blocks": float(len(gates)), "without_gradient": sum(g is None for g in gated[1]) / len(gated[1])}


def checkpointing() -> dict[str, float]:
    """Under checkpointing gates give the same gradients, and backward still stops at the lowest open block.

    It does where nothing asks for gradients of the inputs: transformers does, for the reentrant kind.
    """
    model, tokens = adapted(torch.float32), random_tokens()
    gates = attach_gates(model)
    reached: set[int] = set()

    def watch(index: int, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda _: reached.add(index))

    for index, layer in enumerate(model.get_base_model().model.layers):
        layer.register_forward_hook(lambda _, __, output, index=index: watch(index, output))

    def gradients(mask: Tensor) -> tuple[list[Tensor | None], int]:
        reached.clear()
        gates.train_with(mask)
        return training_pass(model, tokens)[1], len(reached)

    half = draw_mask(len(gates), 0.5, seed=0, step=0)
    top = torch.arange(len(gates)) == len(gates) - 1
    without = {name: gradients(mask) for name, mask in (("half", half), ("top", top))}
    base = model.get_base_model()
    base.gradient_checkpointing_enable({"use_reentrant": False})
    base.disable_input_require_grads()
    figures = {"blocks_without": float(without["top"][1])}
    for name, mask in (("half", half), ("top", top)):
        found, blocks = gradients(mask)
        require(_same(found, without[name][0]), f"{name}: other gradients than without checkpointing")
        require(blocks == without[name][1], f"{name}: backward goes through {blocks} blocks, not {without[name][1]}")
    return figures | {"blocks_with": float(blocks)}
