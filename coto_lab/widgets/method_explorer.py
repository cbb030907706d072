"""A view in which the reader picks a method of adaptation and sees what it makes of a layer in a few real steps."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets

from coto_lab.figures.method_update import layer_update_figure, percent_of
from coto_lab.figures.shapley import short_names
from coto_lab.ground.lists import check_dict
from coto_lab.ground.numbers import whole_number
from coto_lab.probes.method_update import LayerUpdate, layer_updates, of_size, sizes
from coto_lab.tasks import Task
from coto_lab.training.recipe import Recipe
from coto_lab.widgets.view import View

_LOOK = {"style": {"description_width": "5.5em"}, "layout": {"width": "19em"}}
_TOP = 8  # directions of W that the sentence is about
_ONE_SIZE = "one only"


class MethodExplorer(View):
    """Pick a method, its rank or block size, and a layer: a short training shows the update, the start, and a shut gate.

    Each training is done once; another layer of the same training is only drawn.

    Args:
        task: what to train on; the layers that it adapts are linear and of one shape.
        recipes: name -> recipe. The slider changes its rank, or the block size of its method.
        steps: how many of a recipe's steps to take.
        costs: name -> the time of a step over that of LoRA, where it was measured; it is told at the recipe's own size.

    Attributes:
        method: the choice of the method.
        size: the slider of the rank or block size; disabled for a method that has neither.
        block, module: the choice of the layer.
        update: what is shown.

    Raises:
        TypeError: ``task`` lacks a part of the protocol; one of ``recipes`` is no `Recipe`.
        ValueError: there are no recipes; or `layer_updates` raises it for the first one.
        FloatingPointError: the loss of the first recipe is no longer finite.
    """

    update: LayerUpdate

    def __init__(self, task: Task, recipes: Mapping[str, Recipe], steps: int = 10, costs: Mapping[str, float] | None = None):
        check_dict("recipes", recipes, Recipe, "give a dict, such as {'LoRA': Recipe()}.")
        self.task, self.steps = task, whole_number("steps", steps, 1)
        self._recipes, self._costs = dict(recipes), dict(costs or {})
        self._known: dict[Recipe, dict[str, LayerUpdate]] = {}
        recipe = next(iter(self._recipes.values()))
        updates = self._trained(recipe)
        # The name of each layer by the name of its block and the rest, such as "attention.q_proj".
        self._names = {(update.block, name.removeprefix(f"{update.block}.")): name for name, update in updates.items()}
        self._layer = task.load_base().get_submodule(next(iter(updates)))
        blocks, modules = (list(dict.fromkeys(place[i] for place in self._names)) for i in (0, 1))
        self.method = widgets.Dropdown(description="method", options=list(self._recipes), **_LOOK)
        self.size = widgets.SelectionSlider(description="rank", options=[_ONE_SIZE], continuous_update=False, **_LOOK)
        self.block = widgets.Dropdown(description="block", options=_labelled(blocks), **_LOOK)
        self.module = widgets.ToggleButtons(description="layer", options=_labelled(modules))
        rows = [self.method, self.size], [self.block, self.module]
        controls = [widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows]
        super().__init__(layer_update_figure(next(iter(updates.values()))), controls, "coto-method")
        self._offering = False
        self.method.observe(lambda _: self._offer(), "value")
        for control in (self.size, self.block, self.module):
            control.observe(lambda _: self._show(), "value")
        self._offer()

    @property
    def recipe(self) -> Recipe:
        """The recipe of the method, with the size of the slider."""
        recipe = self._recipes[self.method.value]
        return recipe if self.size.disabled else of_size(recipe, self.size.value)

    def _offer(self) -> None:
        """Give the slider the sizes of the method, and show the method at its own size."""
        recipe = self._recipes[self.method.value]
        method, fitting = recipe.adapter_method, sizes(recipe, self._layer)
        self._offering = True  # the slider changes, and is not read before it is ready
        self.size.disabled = not fitting
        self.size.description = "rank" if method.has_rank or not fitting else "block size"
        self.size.options = fitting or [_ONE_SIZE]
        self.size.value = _ONE_SIZE if not fitting else recipe.r if method.has_rank else vars(method)["block_size"]
        self._offering = False
        self._show()

    def _show(self) -> None:
        if self._offering:
            return
        try:
            updates = self._trained(self.recipe)
        except FloatingPointError as error:
            self.say(f"{html.escape(self._title())} is not shown: {html.escape(str(error))} The figure is as before.")
            return
        self.update = updates[self._names[self.block.value, self.module.value]]
        layer_update_figure(self.update, f"{self.module.label}, block {self.block.label}", self.figure)
        self.say(self._sentence())

    def _trained(self, recipe: Recipe) -> dict[str, LayerUpdate]:
        if recipe not in self._known:
            self._known[recipe] = layer_updates(self.task, recipe, self.steps)
        return self._known[recipe]

    def _title(self) -> str:
        size = "" if self.size.disabled else f", {self.size.description} {self.size.value}"
        return f"{self.method.value}{size}"

    def _sentence(self) -> str:
        found, total = self.update, self.update.weight.numel()
        length = (found.change.norm() / found.weight.norm()).item()
        top = min(_TOP, len(found.share_in_top))
        cost = self._costs.get(self.method.value)
        timed = cost is not None and self.recipe == self._recipes[self.method.value]
        return (
            f"<b>{html.escape(self._title())}</b> after {self.steps} steps: ΔW has rank {found.rank} of {len(found.singular)}; "
            f"‖ΔW‖ is {percent_of(length)} of ‖W‖; {percent_of(found.share_in_top[top - 1].item())} of ‖ΔW‖² lies in the top "
            f"{top} directions of W. {found.trained:,} numbers of this layer are trained; full fine-tuning trains {total:,}. "
            f"{_told('Before the first step', found.at_start)} {_told('With its gate shut in training', found.dropped)}"
            + (f" A step takes {cost:.2f} times as long as one of LoRA, as measured on the digits." if timed else "")
        )


def _told(when: str, difference: float) -> str:
    if difference == 0:
        return f"{when}, the layer computes exactly the pre-trained outputs."
    return f"{when}, its outputs differ from the pre-trained ones by {percent_of(difference)} of their norm."


def _labelled(names: list[str]) -> list[tuple[str, Any]]:
    return list(zip(short_names(names), names, strict=True))
