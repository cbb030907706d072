"""The legs on which claims stand: vision and language, each with its tasks and the recipe of every method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from coto_lab.gating.schedules import Constant, Exponential, Linear, Sine
from coto_lab.training.recipe import Recipe


@dataclass(frozen=True)
class Leg:
    """Tasks on one base model, and the recipes of the methods that are compared on them.

    Attributes:
        name: what reports call it.
        tasks: names for `load_task`; a claim is judged on the mean of their scores.
        methods: name -> recipe.
    """

    name: str
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


DIGITS = Leg("digits", ("digits",), methods(Recipe()))
# Of the lengths in the sweep (`coto_lab.studies.string_sweep`), LoRA and CoTo are both best at 1,200 steps. There, both have
# their best mean at a rate of 0.0113. The rate here is half a doubling below, since half a doubling above, runs collapse.
STRINGS = Leg(
    "strings",
    ("strings/rotate-back", "strings/reverse-successor", "strings/sort-descending"),
    methods(Recipe(lr=8e-3, steps=1200)),
)
LEGS = {leg.name: leg for leg in (DIGITS, STRINGS)}
