"""A switch for every adapter of a run: how well does it classify with any choice of them?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import ipywidgets as widgets
import torch
from torch import Tensor

from coto_lab.figures.switchboard import confusion_matrix, switchboard_figure
from coto_lab.ground.numbers import MAX_SEED, whole_number
from coto_lab.probes.interpolation import check_run
from coto_lab.probes.pruning import paper_patterns
from coto_lab.scoring.evaluator import Evaluator, Scores, Variant, module_mask
from coto_lab.tasks import Task
from coto_lab.training.loop import Training
from coto_lab.training.recipe import Recipe
from coto_lab.training.run import Run
from coto_lab.widgets._part import part_of
from coto_lab.widgets._view import View
from coto_lab.widgets._words import compared, percent

SURPRISE = "surprise me"


class Switchboard(View):
    """Switch adapters off and on, by block or one by one; accuracy, confusion matrix and samples follow.

    Scored is a part of the test set, always the same: few enough images for an answer within 300 ms on one CPU core.

    Args:
        task: a task of grey images, the one that the runs were trained on.
        runs: method name -> run; None waits for `take`.
        images: how many test images at most; they are evenly spaced over the test set.
        seed: decides what "surprise me" draws.

    Attributes:
        method: the choice of the run shown.
        blocks: one toggle per block, which switches all its adapters.
        modules: one toggle per adapter.
        patterns: name -> button: the paper's pruning patterns, and ``"surprise me"``, which draws a mask.
        scores: of what is shown, one variant; None before there are runs.

    Raises:
        ValueError: ``images`` below 1; a seed out of range; what `take` refuses.
    """

    def __init__(self, task: Task, runs: Mapping[str, Run] | None = None, images: int = 410, seed: int = 0):
        self.task, self._part = part_of(task, images)
        self._evaluator = Evaluator(self.task)
        self._generator = torch.Generator().manual_seed(whole_number("seed", seed, 0, MAX_SEED))
        self._runs: dict[str, Run] = {}
        self._whole: dict[str, float] = {}  # accuracy with all adapters on
        self.scores: Scores | None = None
        # The adapter of a training that has not begun: there are switches before there is a run.
        self._gates = self._evaluator.gates(Training(task, Recipe()).run().adapter)
        self._mask = module_mask(self._gates, None)
        of_block: dict[str, list[int]] = {}
        for module, block in enumerate(self._gates.blocks):
            of_block.setdefault(block, []).append(module)

        self.method = widgets.ToggleButtons(description="run")
        self.method.observe(self._score, "value")
        self.blocks = [self._switch(f"block {_last(name)}", modules) for name, modules in of_block.items()]
        self.modules = [
            self._switch(f"{_last(name).removesuffix('_proj')} {_last(block)}", [module])
            for module, (name, block) in enumerate(zip(self._gates.names, self._gates.blocks, strict=True))
        ]
        self.patterns = {
            name: _button(name, f"Open these adapters, shut the others: {name}", partial(self._set_mask, mask))
            for name, mask in paper_patterns(self._gates).items()
        }
        self.patterns[SURPRISE] = _button(SURPRISE, "Open adapters at random", self._surprise)
        by_block = list(zip(self.blocks, of_block.values(), strict=True))
        self._switches = by_block + [(switch, [module]) for module, switch in enumerate(self.modules)]
        columns = [widgets.VBox([switch, *(self.modules[i] for i in modules)]) for switch, modules in by_block]
        super().__init__(
            self._figure(None), [self.method, _wrapped(list(self.patterns.values())), _wrapped(columns)], "coto-switchboard"
        )
        self._show_mask()
        self._enable(False)
        self.say("There is no run yet. First run the cell that trains, or pass finished runs to <code>take</code>.")
        if runs is not None:
            self.take(runs)

    @property
    def mask(self) -> Tensor:
        """What is open: ``BoolTensor [n_modules]``. Set it, over modules or over blocks, and the view follows."""
        return self._mask.clone()

    @mask.setter
    def mask(self, mask: Tensor) -> None:
        self._mask = module_mask(self._gates, mask).clone()
        self._show_mask()
        self._score()

    def take(self, runs: Mapping[str, Run]) -> None:
        """Show these finished runs from now on, method name -> run; the switches stay as they are.

        Raises:
            ValueError: no runs; a run of another task or base, or with adapters on other modules.
        """
        if not runs:
            raise ValueError("runs is empty: give at least one.")
        for name, run in runs.items():
            check_run(self.task, run, f"runs[{name!r}]")
        everything = torch.ones(len(self._gates), dtype=torch.bool)
        scores = self._evaluator([Variant(run.adapter, everything, name) for name, run in runs.items()])
        self._runs, self._whole = dict(runs), dict(zip(runs, scores.accuracy.tolist(), strict=True))
        chosen = self.method.value
        self.method.unobserve(self._score, "value")  # it is scored once, at the end
        self.method.options = list(runs)
        self.method.value = chosen if chosen in runs else next(iter(runs))
        self.method.observe(self._score, "value")
        self._enable(True)
        self._score()

    def _score(self, _: Any = None) -> None:
        if not self._runs:
            return
        name = self.method.value
        self.scores = self._evaluator([Variant(self._runs[name].adapter, self._mask, name)])
        predicted, labels = self.scores.logits[0].argmax(-1), self.scores.labels
        self._figure(predicted)
        accuracy, n_right = self.scores.accuracy.item(), int((predicted == labels).sum())
        mistakes = confusion_matrix(predicted, labels, len(self.task.classes)).fill_diagonal_(0)
        true, taken = divmod(int(mistakes.argmax()), len(mistakes))
        classes = self.task.classes
        times = int(mistakes.max())
        worst = (
            f"Most frequent mistake: {classes[true]} taken for {classes[taken]}, {times} time{'s' * (times != 1)}."
            if times
            else "There is no mistake."
        )
        change = compared(100 * (accuracy - self._whole[name]), "with all open")
        self.say(
            f"{name} with {int(self._mask.sum())} of {len(self._mask)} adapters open classifies {n_right} of {len(labels)} "
            f"{self._part} correctly: <b>{percent(accuracy, 1)}</b>, {change}. {worst}"
        )

    def _figure(self, predicted: Tensor | None) -> Any:
        data = self.task.test_batch
        name = self.method.value
        return switchboard_figure(
            predicted,
            data["labels"],
            data["pixel_values"],
            self.task.classes,
            name=name or "",
            position=list(self._runs).index(name) if name in self._runs else 0,
            whole=self._whole.get(name),
            figure=getattr(self, "figure", None),
        )

    def _switch(self, description: str, modules: list[int]) -> widgets.ToggleButton:
        """A toggle of some modules; `_show_mask` sets its value, and what it says then is no news."""
        layout = widgets.Layout(width="84px", margin="1px")
        switch = widgets.ToggleButton(description=description, layout=layout)

        def changed(change: dict[str, Any]) -> None:
            if change["new"] != bool(self._mask[modules].all()):
                self.mask = self._mask.index_fill(0, torch.tensor(modules), change["new"])

        switch.observe(changed, "value")
        return switch

    def _set_mask(self, mask: Tensor, _: widgets.Button) -> None:
        self.mask = mask

    def _surprise(self, _: widgets.Button) -> None:
        p = torch.rand(1, generator=self._generator)  # few open or many: any number is as likely
        self.mask = torch.rand(len(self._mask), generator=self._generator) < p

    def _show_mask(self) -> None:
        for switch, modules in self._switches:
            are_open = self._mask[modules]
            switch.value = bool(are_open.all())
            switch.icon = "check" if are_open.all() else "minus" if are_open.any() else "times"
            switch.button_style = "primary" if are_open.all() else ""
            state = "open" if are_open.all() else "partly open" if are_open.any() else "shut"
            switch.tooltip = f"{switch.description} is {state}"  # read out: a toggle does not say whether it is pressed

    def _enable(self, enabled: bool) -> None:
        for control in (self.method, *self.patterns.values(), *(switch for switch, _ in self._switches)):
            control.disabled = not enabled


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _button(description: str, tooltip: str, action: Callable[[widgets.Button], None]) -> widgets.Button:
    button = widgets.Button(description=description, tooltip=tooltip, layout=widgets.Layout(width="auto"))
    button.on_click(action)
    return button


def _wrapped(children: Sequence[widgets.Widget]) -> widgets.HBox:
    return widgets.HBox(children, layout=widgets.Layout(flex_flow="row wrap"))
