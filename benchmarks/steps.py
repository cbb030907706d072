"""Training: what CoTo saves, beside what its masks predict; many runs on one base; the lab's step beside plain PEFT's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from statistics import median

import torch
from _setup import Scale
from _timing import Call, in_turns
from peft import get_peft_model

from coto_lab import Constant, Linear, Recipe, Training
from coto_lab.ground.device import default_device
from coto_lab.ground.randomness import batch_indices
from coto_lab.probes.cost import measure_cost, saving_from_history, spared, steady_saving, train_in_turns
from coto_lab.tasks import Task
from coto_lab.tasks.task import to_device
from coto_lab.training.rows import trainee_of
from coto_lab.training.step import take_step

_PAPER = 0.242  # the largest saving that arXiv:2506.05713 reports


def saving(scale: Scale) -> dict[str, float]:
    """A whole CoTo ramp beside LoRA, step by step in turns, and beside the prediction from its masks."""
    figures: dict[str, float] = {}
    task = scale.task()
    for method in ("lora", "dora", "hira"):
        recipe = Recipe(method=method, schedule=Linear(), steps=scale.ramp_steps)
        histories = train_in_turns(task, {"plain": replace(recipe, schedule=Constant()), "CoTo": recipe})
        plain, coto = histories["plain"], histories["CoTo"]
        cost = measure_cost(task, recipe, steps=scale.cost_steps)
        measured, predicted = steady_saving(coto, plain), cost.saving(coto.mask)

        all_open = cost.fixed + cost.n_blocks * (cost.backward + cost.adapter)
        adapters, backward = (cost.n_blocks * constant / all_open for constant in (cost.adapter, cost.backward))
        closed, skipped = spared(coto.mask)
        # Were the adapters a larger part of the step, and the rest split as it is: closed·x + skipped·b·(1 - x) = 24.2%.
        rest = skipped * backward / (1 - adapters)
        figures |= {
            f"saving.{method}.measured": 100 * measured,
            f"saving.{method}.predicted": 100 * predicted,
            f"saving.{method}.difference": 100 * (measured - predicted),
            f"saving.{method}.plain_sums": 100 * saving_from_history(coto, plain),
            f"saving.{method}.step_ms": 1000 * plain.seconds.quantile(0.5).item(),
            f"saving.{method}.fixed_share": 100 * cost.fixed / all_open,
            f"saving.{method}.backward_share": 100 * backward,
            f"saving.{method}.adapter_share": 100 * adapters,
            f"saving.{method}.adapter_share_for_paper": 100 * (_PAPER - rest) / (closed - rest),
            "saving.adapters_closed": 100 * closed,
            "saving.backward_spared": 100 * skipped,
        }
    return figures


class PlainPeft:
    """The loop that one would write by hand: PEFT and AdamW, without gates or records."""

    def __init__(self, task: Task, recipe: Recipe):
        self.task, self.recipe, self.device, self.steps = task, recipe, default_device(), 0
        self.model = get_peft_model(task.load_base(), recipe.peft_config(task.target_modules)).to(self.device).train()
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trainable, lr=recipe.lr, fused=True)

    def step(self) -> None:
        indices = batch_indices(self.task.size("train"), self.recipe.batch_size, self.recipe.seed, self.steps)
        batch = to_device(self.task.batch("train", indices), self.device)
        self.task.loss(self.task.predict(self.model, batch), batch).mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1


def stacked_step(task: Task, recipe: Recipe, rows: int, stride: int = 1) -> Call:
    """One step of ``fit_many`` for as many seeds as rows, at every call ``stride`` steps later."""
    recipes = [replace(recipe, seed=seed) for seed in range(rows)]
    trainee = trainee_of(task, recipes, task.load_base())
    steps, alive = count(stride // 2, stride), torch.ones(rows, dtype=torch.bool)
    return lambda: take_step(task, trainee, recipes, next(steps), alive)


def together(scale: Scale) -> dict[str, float]:
    """A stacked step of ten rows beside single steps, of the lab and of plain PEFT, under both attentions; and LoRA-Pro's."""
    single = 3  # single steps in a row, as a run takes them; each counts a third of the time
    plain = Recipe(steps=single * scale.turns)
    coto = replace(plain, schedule=Linear())
    calls: dict[str, Call] = {}
    for attention in ("eager", "sdpa"):
        task = scale.task(attention=attention)
        calls |= {
            f"{attention}.many": stacked_step(task, plain, scale.rows, single),
            f"{attention}.fit": repeated(Training(task, plain).step, single),
            f"{attention}.peft": repeated(PlainPeft(task, plain).step, single),
        }
    task = scale.task()
    calls |= {
        "coto.many": stacked_step(task, coto, scale.rows, single),
        "coto.fit": repeated(Training(task, coto).step, single),
        "pro.fit": repeated(Training(task, replace(plain, method="lora-pro")).step, single),
    }
    taken = in_turns(calls, scale.turns)
    step = {name: median(values) / (1 if name.endswith("many") else single) for name, values in taken.items()}
    figures = {
        "step.lora_ms": 1000 * step["eager.fit"],
        "step.lora_over_peft": step["eager.fit"] / step["eager.peft"],
        "step.lora_pro_over_lora": step["pro.fit"] / step["eager.fit"],
    }
    for attention in ("eager", "sdpa"):
        many, fit, peft = (step[f"{attention}.{name}"] for name in ("many", "fit", "peft"))
        figures |= {
            f"fit_many.{attention}.step_ms": 1000 * many,
            f"fit_many.{attention}.over_fits": scale.rows * fit / many,
            f"fit_many.{attention}.over_peft": scale.rows * peft / many,
        }
    return figures | {
        "fit_many.coto.over_fits": scale.rows / single * sum(taken["coto.fit"]) / sum(taken["coto.many"]),
        "step.sdpa_over_eager": step["sdpa.fit"] / step["eager.fit"],
    }


def repeated(step: Call, times: int) -> Call:
    """So many steps in a row as one call."""
    return lambda: [step() for _ in range(times)]


def _many(scale: Scale) -> Call:
    task = scale.task()
    return lambda: repeated(stacked_step(task, Recipe(steps=3), scale.rows), 3)()


def _one(scale: Scale) -> Call:
    task = scale.task()
    return lambda: repeated(Training(task, Recipe(steps=3)).step, 3)()


# What `memory` runs: a scale in, the call out. Three steps: the first has no moments yet.
WORKLOADS: dict[str, Callable[[Scale], Call]] = {"fit_many.together": _many, "fit_many.loop": _one}
