"""Scoring: an interpolation and the coalitions of exact Shapley values, together and in the loop that one would write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from _setup import Scale, random_adapter
from _timing import medians
from peft import set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from coto_lab import Adapter, Evaluator, Task, Variant, merge
from coto_lab.ground.device import default_device
from coto_lab.tasks.task import to_device

ALPHAS = [i / 20 for i in range(21)]
_LOOP_BATCH = 512

Scoring = Callable[[], Tensor]  # losses [V, N]


@torch.no_grad()
def losses_of(task: Task, model: nn.Module, batch_size: int) -> Tensor:
    """The model's loss on every example of the test split, ``[N]``, on the CPU."""
    device, n = default_device(), task.size("test")
    places = (range(start, min(start + batch_size, n)) for start in range(0, n, batch_size))
    batches = (to_device(task.batch("test", some), device) for some in places)
    return torch.cat([task.measure(task.predict(model, batch), batch)["loss"] for batch in batches])


def _ready_evaluator(task: Task, adapter: Adapter) -> Evaluator:
    evaluator = Evaluator(task)
    evaluator([Variant(adapter)], split="train")  # builds its model, once
    return evaluator


# Interpolation


def _pair(scale: Scale) -> tuple[Task, Adapter, Adapter]:
    task = scale.task(images=scale.images[0])
    return task, random_adapter(task, 0), random_adapter(task, 1)


def interpolation_together(scale: Scale) -> Scoring:
    """21 mixtures of two adapters, by the evaluator."""
    task, a, b = _pair(scale)
    evaluator = _ready_evaluator(task, a)
    return lambda: evaluator([Variant(merge([a, b], "fuse", [1 - alpha, alpha])) for alpha in ALPHAS]).values["loss"]


def interpolation_loop(scale: Scale) -> Scoring:
    """The same by hand: mix the weights, copy them into one PEFT model, run the test set, 21 times."""
    task, a, b = _pair(scale)
    model = a.attach(task.load_base()).to(default_device())

    def mixtures() -> Iterator[Tensor]:
        for alpha in ALPHAS:
            set_peft_model_state_dict(model, {name: (1 - alpha) * t + alpha * b.tensors[name] for name, t in a.tensors.items()})
            yield losses_of(task, model, _LOOP_BATCH)

    return lambda: torch.stack(list(mixtures()))


def interpolation_base(scale: Scale) -> Scoring:
    """The arithmetic that no evaluator gets around: the base alone, 21 times, at the evaluator's batch size."""
    task = scale.task(images=scale.images[0])
    base = task.load_base().to(default_device()).eval()
    batch_size = Evaluator(task).batch_size
    return lambda: torch.stack([losses_of(task, base, batch_size) for _ in ALPHAS])


# Coalitions


def _game(scale: Scale, which: int) -> tuple[Task, Adapter, Tensor]:
    n = scale.blocks[which]
    task = scale.task(blocks=n, images=scale.images[1 + which])
    return task, random_adapter(task, 0), (torch.arange(2**n)[:, None] >> torch.arange(n) & 1).bool()


def _sample(scale: Scale, which: int) -> Tensor:
    return torch.randperm(2 ** scale.blocks[which], generator=torch.Generator().manual_seed(0))[: scale.sample]


def coalitions_together(scale: Scale, which: int) -> Scoring:
    """All coalitions of the first or the second game, by the evaluator."""
    task, adapter, masks = _game(scale, which)
    evaluator = _ready_evaluator(task, adapter)
    return lambda: evaluator([Variant(adapter, mask) for mask in masks]).values["loss"]


def coalitions_loop(scale: Scale, which: int) -> Scoring:
    """A random sample of them by hand: switch PEFT's layers on and off, run the test set."""
    task, adapter, masks = _game(scale, which)
    model = adapter.attach(task.load_base()).to(default_device())
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]
    block_of = [int(name.split("layers.")[1].split(".")[0]) for name, _ in layers]

    def scores(mask: Tensor) -> Tensor:
        for (_, layer), block in zip(layers, block_of, strict=True):
            layer.enable_adapters(bool(mask[block]))
        return losses_of(task, model, _LOOP_BATCH)

    sample = masks[_sample(scale, which)]
    return lambda: torch.stack([scores(mask) for mask in sample])


# What `memory` runs, too: a scale in, the call out.
WORKLOADS: dict[str, Callable[[Scale], Scoring]] = {
    "interpolation.together": interpolation_together,
    "interpolation.loop": interpolation_loop,
    "shapley8.together": lambda scale: coalitions_together(scale, 0),
    "shapley8.loop": lambda scale: coalitions_loop(scale, 0),
    "shapley12.together": lambda scale: coalitions_together(scale, 1),
    "shapley12.loop": lambda scale: coalitions_loop(scale, 1),
}


def interpolation(scale: Scale) -> dict[str, float]:
    """Seconds of the three, taking turns, and how they compare."""
    calls = {
        "together": WORKLOADS["interpolation.together"](scale),
        "loop": WORKLOADS["interpolation.loop"](scale),
        "base": interpolation_base(scale),
    }
    taken, losses = _timed(calls, scale.repeats)
    _check_agreement(losses["together"], losses["loop"])
    return {
        **{f"interpolation.{name}_s": value for name, value in taken.items()},
        "interpolation.over_loop": taken["loop"] / taken["together"],
        "interpolation.share_of_base": 100 * taken["base"] / taken["together"],
    }


def shapley(scale: Scale) -> dict[str, float]:
    """Both games: seconds of all coalitions, taking turns; the loop's from its sample."""
    return game(scale, 0, "shapley8") | game(scale, 1, "shapley12")


def game(scale: Scale, which: int, name: str) -> dict[str, float]:
    """The first or the second game."""
    calls = {"together": coalitions_together(scale, which), "loop": coalitions_loop(scale, which)}
    taken, losses = _timed(calls, scale.repeats)
    sample = _sample(scale, which)
    _check_agreement(losses["together"][sample], losses["loop"])
    loop = taken["loop"] * 2 ** scale.blocks[which] / len(sample)
    return {
        f"{name}.together_s": taken["together"],
        f"{name}.loop_s": loop,
        f"{name}.over_loop": loop / taken["together"],
    }


def _timed(calls: dict[str, Scoring], turns: int) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Median seconds of each, and what each returned."""
    losses: dict[str, Tensor] = {}

    def keep(name: str) -> None:
        losses[name] = calls[name]()

    return medians({name: partial(keep, name) for name in calls}, turns), losses


def _check_agreement(ours: Tensor, theirs: Tensor) -> None:
    if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3):
        raise SystemExit(f"the two sides score differently, by up to {(ours - theirs).abs().max():.3g}: nothing to compare.")
