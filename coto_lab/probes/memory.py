"""The memory of a training, part by part, and what would make a smaller one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import nn

from coto_lab.ground.device import default_device
from coto_lab.ground.numbers import finite_number

GIB = 2**30

# What these cards have, in GiB, to plan by. Nothing is known here of their speed.
CARDS = {"T4": 15.0, "L4": 22.5, "A100": 40.0, "H100": 80.0}
_USABLE = 0.9  # of a card; the rest goes to the driver, to kernels and to gaps between tensors

# Bits of a frozen weight of a linear layer. bitsandbytes keeps one number of 32 bits for each block of 64 weights of nf4; what
# it and torchao keep for each row of int8 is less than a hundredth.
_BITS = {"nf4": 4.5, "int8": 8.0, "int8-torchao": 8.0}


@dataclass(frozen=True)
class Memory:
    """Bytes of a training, by what they are for.

    Attributes:
        weights: of all parameters and buffers, as they are stored.
        gradients: of the trainable parameters.
        optimiser: what it keeps of the past, such as AdamW's two moments.
        activations: at the peak of a step, what the forward pass keeps for the backward pass, and what is being computed.
        checkpointed: the same under gradient checkpointing; None where the model cannot do it.
        checkpoints: whether this training checkpoints.
        stored: how the frozen weights are stored: ``"float32"``, ``"bfloat16"``, ``"int8"``, ``"nf4"`` ...
        other_weights: ``weights`` if the frozen ones were stored in another way, by that way.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int
    checkpointed: int | None
    checkpoints: bool
    stored: str
    other_weights: dict[str, int]

    @property
    def total(self) -> int:
        """All that is there at the peak of a step."""
        return self.weights + self.gradients + self.optimiser + self._peak(self.checkpoints)

    def parts(self) -> dict[str, float]:
        """The parts by their names in a table; NaN where the model cannot checkpoint."""
        checkpointed = float("nan") if self.checkpointed is None else float(self.checkpointed)
        parts = {"weights": self.weights, "gradients": self.gradients, "optimiser": self.optimiser}
        return {**parts, "activations": self.activations, "activations with checkpointing": checkpointed}

    def ways_to_fit(self, room: float, batch_size: int) -> list[str]:
        """What makes a training that does not fit into ``room`` bytes fit, each with the memory that it then needs.

        They are those with the fewest changes. A smaller batch is half as large, or a quarter, and so on. Other weights count
        as no saving of activations: PEFT keeps adapters in float32 and copies the inputs of each, so how much less half
        precision needs there depends on where the adapters are.

        Args:
            room: in bytes.
            batch_size: of the training.
        """
        found: list[tuple[int, str]] = []
        can_checkpoint = self.checkpointed is not None and not self.checkpoints
        for stored, checkpoints in product((self.stored, *self.other_weights), (False, True)):
            if checkpoints and not can_checkpoint:
                continue
            changes = [f"weights in {stored}"] if stored != self.stored else []
            changes += ["gradient checkpointing"] if checkpoints else []
            kept = self.other_weights.get(stored, self.weights) + self.gradients + self.optimiser
            peak = self._peak(checkpoints or self.checkpoints)
            size = batch_size
            while size > 1 and kept + peak * size / batch_size > room:
                size //= 2
            if (needed := kept + peak * size / batch_size) <= room:
                changes += [f"batch_size={size}"] if size < batch_size else []
                found.append((len(changes), f"{' with '.join(changes)} ({in_words(needed)})"))
        fewest = min((n for n, _ in found), default=0)
        return [way for n, way in found if n == fewest]

    def _peak(self, checkpoints: bool) -> int:
        return self.checkpointed if checkpoints and self.checkpointed is not None else self.activations


def memory_of(
    model: nn.Module,
    *,
    activations: int,
    checkpointed: int | None,
    moments: float,
    checkpoints: bool = False,
    quantised: str | None = None,
    whole: Sequence[str] = (),
) -> Memory:
    """The memory of a training of a PEFT model, which may be on the meta device.

    Args:
        model: with its adapter.
        activations, checkpointed, checkpoints: as in `Memory`.
        moments: bytes that the optimiser keeps, per byte of a trainable parameter.
        quantised: how the frozen weights of linear layers will be stored (`coto_lab.tasks.hub.source.Source`), while all others
            stay as they are in ``model``; None: these too.
        whole: the ends of the names of new layers, which are never quantised.
    """
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    frozen = [p for p in model.parameters() if not p.requires_grad]
    dtypes = [p.dtype for p in frozen if p.is_floating_point()]
    dtype = str(max(set(dtypes), key=dtypes.count, default=torch.float32)).removeprefix("torch.")
    skipped = ("lm_head", *whole)
    linear = {
        id(module.weight)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not any(f".{end}." in f".{name}." for end in skipped)
    }
    fixed = trained + sum(buffer.nbytes for buffer in model.buffers())

    def weights(stored: str) -> int:
        n_bytes = float(fixed)
        for p in frozen:
            if stored in _BITS:
                bits = _BITS[stored] if id(p) in linear else 8 * p.element_size()
            else:
                bits = 8 * (getattr(torch, stored).itemsize if p.is_floating_point() else p.element_size())
            n_bytes += p.numel() * bits / 8
        return round(n_bytes)

    stored = quantised or dtype
    others = [way for way in ("bfloat16", "nf4") if weights(way) < weights(stored)]
    return Memory(
        weights=fixed + sum(p.nbytes for p in frozen) if quantised is None else weights(quantised),
        gradients=trained,
        optimiser=round(moments * trained),
        activations=activations,
        checkpointed=checkpointed,
        checkpoints=checkpoints,
        stored=stored,
        other_weights={way: weights(way) for way in others},
    )


def in_words(n_bytes: float) -> str:
    """An amount of memory, such as ``13.5 GiB`` or ``820.0 MiB``."""
    return f"{n_bytes / GIB:.1f} GiB" if n_bytes >= GIB else f"{n_bytes / 2**20:.1f} MiB"


def room_in(memory: str | float) -> tuple[str, float]:
    """What a card of `CARDS`, or so many GiB, is called in a sentence, and how many of its bytes a training may take.

    Raises:
        ValueError: an unknown card, or a number that is not above 0.
    """
    if isinstance(memory, str):
        if memory not in CARDS:
            raise ValueError(
                f"memory={memory!r}: must be one of {', '.join(map(repr, CARDS))}, or a number of GiB, such as 24.0."
            )
        return f"the {memory} ({CARDS[memory]:g} GiB)", _USABLE * CARDS[memory] * GIB
    if (number := finite_number("memory", memory)) <= 0:
        raise ValueError(f"memory={memory!r}: must be above 0, in GiB, or one of {', '.join(map(repr, CARDS))}.")
    return f"a memory of {in_words(number * GIB)}", _USABLE * number * GIB


def device_memory() -> int | None:
    """Bytes of memory of the device that trains, or of this machine where that is the CPU; None where it is not known."""
    if default_device().type == "cuda":
        return int(torch.cuda.mem_get_info()[1])
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return None
