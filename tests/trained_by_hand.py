"""What a trainer does with gates, in a loop by hand on a tiny Llama: the oracle of trainers whose loop the user writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import peft
import tiny_models as tiny
import torch
from torch import Tensor, nn
from trained_weights import weights

from coto_lab import Schedule, attach_gates
from coto_lab.gating.coto import draw_mask

BLOCKS, ROWS, BATCH = 3, 10, 2  # 5 batches an epoch; with accumulation over 2, groups of 2, 2 and 1
SEED = 5
Batch = dict[str, Tensor]
Loss = Callable[[peft.PeftModel, Batch], Tensor]


def adapted(dropout: float = 0.0) -> peft.PeftModel:
    """A tiny Llama in training mode, with an adapter that is not at its start, so that open differs from closed."""
    config = tiny.config_of("LoRA", lora_dropout=dropout)
    return tiny.randomise(peft.get_peft_model(tiny.llama(layers=BLOCKS), config)).train()


def rows(n: int = ROWS) -> list[Batch]:
    tokens = torch.randint(32, (n, 6), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": row, "labels": row} for row in tokens]


def groups(epochs: int = 1, accumulation: int = 1) -> list[list[Batch]]:
    """The batches of every optimiser step."""
    batches = torch.utils.data.DataLoader(rows(), batch_size=BATCH)
    epoch = list(batches)
    return [epoch[i : i + accumulation] for i in range(0, len(epoch), accumulation)] * epochs


def optimizer_of(model: nn.Module, lr: float = 0.01) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.1)


def loss_of(model: peft.PeftModel, batch: Batch) -> Tensor:
    return model(**batch).loss


def drawn(schedule: Schedule, steps: int, seed: int = SEED) -> list[list[bool]]:
    return [draw_mask(BLOCKS, schedule(step / steps), seed, step).tolist() for step in range(steps)]


def train_by_hand(
    steps: Sequence[Sequence[Batch]],
    masks: list[list[bool]] | None = None,
    *,
    model: peft.PeftModel | None = None,
    lr: float = 0.01,
    divide_by: int = 1,
    clip: float | None = None,
    bf16: bool = False,
    loss: Loss = loss_of,
) -> dict[str, Tensor]:
    """The weights after these steps, with these gates (None: without gates)."""
    model = adapted() if model is None else model
    optimizer = optimizer_of(model.train(), lr)
    gates = attach_gates(model) if masks else None
    for i, group in enumerate(steps):
        if gates and masks:
            gates.train_with(torch.tensor(masks[i]))
        for batch in group:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                value = loss(model, batch)
            (value / divide_by).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
    if gates:
        gates.detach()
    return weights(model)


class Passes:
    """Every forward pass of a model: whether it was one of training with gradients, and the blocks whose adapter ran in it."""

    def __init__(self, model: peft.PeftModel):
        self.seen: list[tuple[bool, set[int]]] = []
        base = model.get_base_model()
        base.register_forward_pre_hook(self._begin)
        for i, block in enumerate(base.model.layers):
            for name, module in block.named_modules():
                if name.endswith("lora_A.default"):
                    module.register_forward_hook(lambda *_, i=i: self.seen[-1][1].add(i))

    def _begin(self, module: nn.Module, _: Any) -> None:
        self.seen.append((module.training and torch.is_grad_enabled(), set()))

    def training(self) -> list[list[bool]]:
        return [_mask(ran) for training, ran in self.seen if training]

    def others(self) -> list[list[bool]]:
        """In evaluation, in generation and in rollouts."""
        return [_mask(ran) for training, ran in self.seen if not training]


def _mask(ran: set[int]) -> list[bool]:
    return [i in ran for i in range(BLOCKS)]


class Recomputed:
    """How often each block's attention ran in a step, with the runs that checkpointing repeats in the backward pass."""

    def __init__(self, model: peft.PeftModel):
        self.counts = [0] * BLOCKS
        for i, block in enumerate(model.get_base_model().model.layers):
            block.self_attn.register_forward_pre_hook(lambda *_, i=i: self._count(i))

    def _count(self, i: int) -> None:
        self.counts[i] += 1

    def take(self) -> list[int]:
        counts, self.counts = self.counts, [0] * BLOCKS
        return counts


def expected_counts(mask: list[bool]) -> list[int]:
    """The backward pass ends at the lowest open block, so those below it do not run again."""
    lowest = mask.index(True)
    return [1 + (i >= lowest) for i in range(BLOCKS)]


# Losses with a reference policy or a rollout: how a user writes them, and by hand, with another model for what is compared


def with_disabled_reference(model: peft.PeftModel, batch: Batch) -> Tensor:
    with torch.no_grad(), model.disable_adapter():
        reference = model(**batch).logits
    return _away_from(reference, model, batch)


def with_disabled_reference_by_hand(model: peft.PeftModel, batch: Batch) -> Tensor:
    with torch.no_grad():
        reference = tiny.llama(layers=BLOCKS)(**batch).logits
    return _away_from(reference, model, batch)


def with_second_adapter(seed: int = 1) -> peft.PeftModel:
    """As `adapted`, with a frozen adapter beside it that is called "reference"."""
    model = adapted()
    model.add_adapter("reference", tiny.config_of("LoRA"))
    model.set_adapter("reference")
    tiny.randomise(model, seed)
    model.set_adapter("default")
    return model


def with_adapter_as_reference(model: peft.PeftModel, batch: Batch) -> Tensor:
    model.set_adapter("reference")
    with torch.no_grad():
        reference = model(**batch).logits
    model.set_adapter("default")
    return _away_from(reference, model, batch)


def with_adapter_as_reference_by_hand(model: peft.PeftModel, batch: Batch) -> Tensor:
    other = with_second_adapter()
    other.set_adapter("reference")
    with torch.no_grad():
        reference = other(**batch).logits
    return _away_from(reference, model, batch)


def _away_from(reference: Tensor, model: peft.PeftModel, batch: Batch) -> Tensor:
    output = model(**batch)
    return output.loss + (output.logits - reference).square().mean()


def on_a_rollout(model: peft.PeftModel, batch: Batch) -> Tensor:
    tokens = model.generate(input_ids=batch["input_ids"], max_new_tokens=4, do_sample=False)
    return model(input_ids=tokens, labels=tokens).loss


def on_a_rollout_by_hand(model: peft.PeftModel, batch: Batch) -> Tensor:
    other = adapted()
    other.load_state_dict(model.state_dict())
    tokens = other.eval().generate(input_ids=batch["input_ids"], max_new_tokens=4, do_sample=False)
    return model(input_ids=tokens, labels=tokens).loss
