"""A recipe: everything that decides what `fit` trains, as one frozen, validated value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from coto_lab.adapters.methods import registry
from coto_lab.adapters.methods.fit import check_fit, said_clearly
from coto_lab.adapters.methods.method import Method
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.gating import schedules
from coto_lab.gating.schedules import Constant, Schedule
from coto_lab.ground.numbers import MAX_SEED, finite_number, real_number, whole_number

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

DECAYS = ("linear", "cosine", "constant")
DROPOUT_DECAYS = ("constant", "linear")
_RAMP = 0.75  # share of the training after which a decaying dropout is 0: where CoTo's ramp ends


@dataclass(frozen=True)
class Recipe:
    """How to adapt a task's base model. The default is plain LoRA; ``Recipe(schedule=Linear())`` is CoTo.

    The paper's other methods: ``dropout=0.25`` (adapter dropout), ``dropout=0.25, dropout_decay="linear"`` (progressive
    dropout), ``schedule=Constant(0.5)`` (stochastic depth), ``schedule=Sine()``, ``schedule=Exponential()``, and
    ``schedule=Linear(), tilt=1`` (CoTo-H, high blocks drop more) or ``tilt=-1`` (CoTo-L).

    Attributes:
        method: the name of a method (``"lora"``, ``"dora"``, ``"hira"``, and whatever else `coto_lab.adapters.methods`
            holds), or a `Method` with options of its own. One with its default options is stored as its name.
        r: rank, for methods with a rank (IA3, OFT and BOFT have none).
        alpha: numerator of the scale alpha / r, for methods with a scale (HiRA, VeRA and others have none).
        dropout: probability of zeroing an entry of the adapter's input, for methods that have such a dropout.
        schedule: activation probability over progress; ``Constant(1.0)`` keeps every block's adapter on.
        steps: optimiser steps.
        lr: the highest learning rate: that of the first step after the warm-up.
        decay: how it falls to 0 over the steps: ``"linear"``, ``"cosine"``, or ``"constant"`` (stays).
        batch_size: examples in a step, all processes together.
        weight_decay: AdamW's decoupled decay, per step and learning rate.
        seed: decides initialisation, order of the data, dropout and gates.
        tilt: which blocks drop more: above 0 the high ones, below 0 the low ones (`coto.tilted`).
        dropout_decay: ``"constant"``, or ``"linear"``: it falls to 0 over the first 75% of the steps, then stays 0. (The
            paper names progressive dropout, not its curve; this mirrors CoTo's ramp.)
        warmup_steps: the learning rate rises from 0 over so many steps, and decays over the rest, as in transformers'
            ``get_scheduler``.
        max_grad_norm: gradients of a longer Euclidean norm, over all adapters, are shortened to it; None leaves them.

    Raises:
        ValueError: a value out of range, naming it.
    """

    method: str | Method = "lora"
    r: int = 4
    alpha: float = 8.0
    dropout: float = 0.0
    schedule: Schedule = Constant()  # noqa: RUF009  # frozen
    steps: int = 800
    lr: float = 1e-2
    decay: str = "linear"
    batch_size: int = 32
    weight_decay: float = 0.0
    seed: int = 0
    tilt: float = 0.0
    dropout_decay: str = "constant"
    warmup_steps: int = 0
    max_grad_norm: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", registry.short_form(self.method))
        for name, choices in (("decay", DECAYS), ("dropout_decay", DROPOUT_DECAYS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r}: must be one of {', '.join(map(repr, choices))}.")
        least = {"r": 1, "steps": 1, "batch_size": 1, "seed": 0, "warmup_steps": 0}
        for name, low in least.items():
            most = MAX_SEED if name == "seed" else None
            object.__setattr__(self, name, whole_number(name, getattr(self, name), low, most))
        for name in ("alpha", "lr", "dropout", "weight_decay"):
            object.__setattr__(self, name, real_number(name, getattr(self, name)))
        for name in ("alpha", "lr"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name}={getattr(self, name)!r}: must be a finite number above 0.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout!r}: must be in [0, 1).")
        if self.dropout and not self.adapter_method.takes_dropout:
            able = ", ".join(repr(name) for name, kind in registry.known_methods().items() if kind.takes_dropout)
            raise ValueError(
                f"dropout={self.dropout!r}: method {self.adapter_method.name!r} has no dropout of its adapter's input. Leave "
                f"it at 0, or take one of {able}."
            )
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay={self.weight_decay!r}: must be a finite number, 0 or above.")
        object.__setattr__(self, "tilt", finite_number("tilt", self.tilt))
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps={self.warmup_steps}: must be below steps={self.steps}.")
        if self.max_grad_norm is not None:
            object.__setattr__(self, "max_grad_norm", real_number("max_grad_norm", self.max_grad_norm))
            if not (math.isfinite(self.max_grad_norm) and self.max_grad_norm > 0):
                raise ValueError(f"max_grad_norm={self.max_grad_norm!r}: must be None or a finite number above 0.")
        if not isinstance(self.schedule, Schedule):
            raise ValueError(f"schedule={self.schedule!r}: must be a Schedule, such as Linear() or Constant(1.0).")

    def learning_rate(self, step: int) -> float:
        """The learning rate of the 0-based ``step``."""
        if step < self.warmup_steps:
            return self.lr * step / self.warmup_steps
        progress = (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        if self.decay == "linear":
            return self.lr * (1 - progress)
        if self.decay == "cosine":
            return self.lr * (1 + math.cos(math.pi * progress)) / 2
        return self.lr

    def dropout_rate(self, step: int) -> float:
        """The adapter dropout of the 0-based ``step``."""
        if self.dropout_decay == "constant":
            return self.dropout
        return self.dropout * max(0.0, 1 - step / self.steps / _RAMP)

    @property
    def adapter_method(self) -> Method:
        """The method as an object, which makes the adapter's configuration and the optimiser."""
        return registry.find_method(self.method)

    def peft_config(self, target_modules: Sequence[str], modules_to_save: Sequence[str] = ()) -> PeftConfig:
        """PEFT's configuration of the adapter.

        Args:
            target_modules: the ends of the names of the layers that get an adapter.
            modules_to_save: the ends of the names of new layers, which are trained whole and saved with the adapter.
        """
        targets = sorted(target_modules)
        config = self.adapter_method.peft_config(r=self.r, alpha=self.alpha, dropout=self.dropout, targets=targets)
        if modules_to_save:
            config.modules_to_save = sorted({*modules_to_save, *(config.modules_to_save or ())})
        return config

    def put_on(self, base: PreTrainedModel, target_modules: Sequence[str], modules_to_save: Sequence[str] = ()) -> PeftModel:
        """``base``, which is changed, with a new adapter on it; arguments as in `peft_config`.

        Raises:
            ValueError: the method cannot adapt one of the layers; the message has the methods that can.
        """
        check_fit(self.adapter_method, base, target_modules, self.r)
        with said_clearly(self.adapter_method, base, target_modules, self.r):
            return add_adapter(base, self.peft_config(target_modules, modules_to_save))

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON values: the schedule as its name and parameters, and so the method where it has options."""
        schedule = {"name": type(self.schedule).__name__} | asdict(self.schedule)  # type: ignore[call-overload]
        return asdict(self) | {"method": registry.to_json(self.method), "schedule": schedule}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Recipe:
        """The recipe that `to_json` wrote.

        Raises:
            ValueError: a field, a method or a schedule that this version does not know.
        """
        if not isinstance(values, dict):
            raise ValueError(f"not a recipe of this version: {values!r} is not an object with fields.")
        parameters = values.get("schedule", {"name": "Constant"})
        if not isinstance(parameters, dict):
            raise ValueError(f"schedule={parameters!r}: must be an object with a name and the parameters.")
        unknown = values.keys() - {field.name for field in fields(cls)}
        name = parameters.get("name")
        if unknown or name not in schedules.NAMES:
            raise ValueError(f"not a recipe of this version: unknown fields {sorted(unknown)}, schedule {name!r}.")
        schedule = getattr(schedules, name)
        parameters = {key: value for key, value in parameters.items() if key != "name"}
        if unknown := parameters.keys() - {field.name for field in fields(schedule)}:
            raise ValueError(f"not a recipe of this version: schedule {name!r} has no {sorted(unknown)}.")
        try:
            method = registry.from_json(values.get("method", "lora"))
        except ValueError as error:
            raise ValueError(f"not a recipe of this version: {error}") from error
        return cls(**values | {"method": method, "schedule": schedule(**parameters)})


def check_recipe(recipe: object) -> None:
    """TypeError unless ``recipe`` is a `Recipe`."""
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe={recipe!r}: give a Recipe, such as Recipe() for plain LoRA or Recipe(schedule=Linear()).")
