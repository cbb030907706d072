"""In a patch: a sub-configuration in ``peft/tuners/lora/config.py``, and the field ``LoraConfig.coto_config``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class CotoConfig:
    """How CoTo drops adapters in training: p(t), the probability that a block's adapter takes part, rises linearly to 1.

    Source: "Come Together, But Not Right Now" (arXiv:2506.05713). Its schedule is the default: p(t) = 4t / 3T, then 1.

    Args:
        total_steps: optimiser steps in the whole training; `CotoCallback` fills it in.
        initial_p: p at the first step.
        ramp: the share of training in which p rises.
        seed: seed of the draws; every process must have the same.
    """

    total_steps: int | None = None
    initial_p: float = 0.0
    ramp: float = 0.75
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("initial_p", "ramp"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must be between 0 and 1, got {getattr(self, name)}.")
        if self.total_steps is not None and self.total_steps < 1:
            raise ValueError(f"`total_steps` must be at least 1, got {self.total_steps}.")
        if self.seed < 0:
            raise ValueError(f"`seed` must not be negative, got {self.seed}.")

    def probability(self, step: int) -> float:
        """p at the 0-based optimiser ``step``."""
        if self.total_steps is None:
            raise ValueError("`total_steps` is not set, so p(t) is not defined. Set it, or train with CotoCallback.")
        progress = step / self.total_steps
        return 1.0 if progress >= self.ramp else self.initial_p + (1.0 - self.initial_p) * (progress / self.ramp)
