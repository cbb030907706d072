"""The legs on which claims stand: each has its tasks on one base model and the recipe of every method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from coto_lab.gating.schedules import Constant, Exponential, Linear, Sine
from coto_lab.tasks import digits, docstrings, string_task
from coto_lab.training.recipe import Recipe


@dataclass(frozen=True)
class Leg:
    """Tasks on one base model, and the recipes of the methods that are compared on them.

    Attributes:
        name: what reports call it.
        base: the name of the base model.
        tasks: names for `load_task`; a claim is judged on the mean of their scores.
        methods: name -> recipe.
    """

    name: str
    base: str
    tasks: tuple[str, ...]
    methods: Mapping[str, Recipe]


def methods(lora: Recipe) -> dict[str, Recipe]:
    """Every method that is compared, at the rank, learning rate and length of a recipe of plain LoRA.

    The dropout probability is CLIP-LoRA's default, as in the paper.
    """
    return {
        "LoRA": lora,
        "dropout": replace(lora, dropout=0.25),
        "stochastic depth": replace(lora, schedule=Constant(0.5)),
        "CoTo": replace(lora, schedule=Linear()),
        "CoTo sine": replace(lora, schedule=Sine()),
        "CoTo exponential": replace(lora, schedule=Exponential()),
    }


DIGITS = Leg("digits", digits.BASE, ("digits",), methods(Recipe()))
# Of the lengths in the sweep (`coto_lab.studies.grid_sweep`), LoRA and CoTo are both best at 1,200 steps. There, both have
# their best mean at a rate of 0.0113. The rate here is half a doubling below, since half a doubling above, runs collapse.
STRINGS = Leg(
    "strings",
    string_task.BASE,
    ("strings/rotate-back", "strings/reverse-successor", "strings/sort-descending"),
    methods(Recipe(lr=8e-3, steps=1200)),
)
# A run on the docstrings takes minutes, so there the other two ramps of CoTo were left out. The rate has the highest mean over
# LoRA and CoTo in the sweep.
_ON_DOCSTRINGS = ("LoRA", "dropout", "stochastic depth", "CoTo")
DOCSTRINGS = Leg(
    "docstrings",
    docstrings.BASE,
    ("docstrings",),
    {name: own for name, own in methods(Recipe(lr=4e-3, steps=200, batch_size=16)).items() if name in _ON_DOCSTRINGS},
)
LEGS = {leg.name: leg for leg in (DIGITS, STRINGS, DOCSTRINGS)}
