"""A switch for every adapter of a run, to see how well the run does with any choice of its adapters."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import ipywidgets as widgets
import torch
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.figures.confusion import confusion_matrix
from coto_lab.figures.switchboard import switchboard_figure
from coto_lab.ground.numbers import MAX_SEED, whole_number
from coto_lab.ground.randomness import OwnRandomNumbers
from coto_lab.probes.pruning import paper_patterns
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.sites import Sites, module_mask
from coto_lab.scoring.sources import Source, adapter_of, check_sources
from coto_lab.scoring.variant import Variant
from coto_lab.tasks import Task
from coto_lab.tasks.task import has_outputs
from coto_lab.training.recipe import Recipe
from coto_lab.widgets.evenly_spaced import evenly_spaced
from coto_lab.widgets.view import View
from coto_lab.widgets.words import compared, percent, verb

SURPRISE = "surprise me"


class Switchboard(View):
    """Switch adapters off and on, by block or one by one, and see accuracy, samples, and the confusion matrix of classes.

    The view always scores the same part of the test set. For the embedded task this part is small enough that one CPU core
    scores it within 300 ms. If the task has a method ``say`` (see `Task`), samples of text show the model's answers, with the
    wrong characters marked. Instead of a run, an adapter or a folder can be given, because the training history is not needed.

    Args:
        task: the task that the runs were trained on.
        runs: method name -> run. With None, the view waits for `take` and shows switches for the adapters that `fit` would
            train.
        images: the largest number of test examples that are scored; they are evenly spaced over the test set.
        seed: decides what "surprise me" draws.

    Attributes:
        method: the choice of the run shown.
        blocks: one toggle per block, which switches all adapters of the block.
        modules: one toggle per adapter.
        patterns: name -> button: the paper's pruning patterns, and ``"surprise me"``, which draws a mask.
        scores: the scores of the variant that is shown; None before there are runs.

    Raises:
        TypeError: ``task`` lacks a part of the protocol, or something given as a run is not a run, adapter or folder.
        ValueError: ``images`` is below 1; ``seed`` is out of range; or `take` raises it.
    """

    def __init__(self, task: Task, runs: Mapping[str, Source] | None = None, images: int = 410, seed: int = 0):
        self._scored = evenly_spaced(task, images)
        self.task = self._scored.task
        self._evaluator = Evaluator(self.task)
        self._generator = torch.Generator().manual_seed(whole_number("seed", seed, 0, MAX_SEED))
        self._runs: dict[str, Adapter] = {}
        self._whole: dict[str, float] = {}  # accuracy with all adapters open
        self.scores: Scores | None = None
        self.method = widgets.ToggleButtons(description="run")
        self.method.observe(self._score, "value")
        self._rows = _wrapped([]), _wrapped([])  # the patterns, the switches
        super().__init__(self._figure(), [self.method, *self._rows], "coto-switchboard")
        if runs is None:
            self._make_switches(self._evaluator.sites(_untrained(task)))
            self._enable(False)
            self.say("There is no run yet. First run the cell that trains, or pass finished runs to <code>take</code>.")
        else:
            self.take(runs)

    @property
    def mask(self) -> Tensor:
        """The adapters that are open, ``BoolTensor [n_modules]``. It can be set to a mask over modules or over blocks."""
        return self._mask.clone()

    @mask.setter
    def mask(self, mask: Tensor) -> None:
        self._mask = module_mask(self._sites, mask).clone()
        self._show_mask()
        self._score()

    def take(self, runs: Mapping[str, Source]) -> None:
        """From now on, show these finished runs (or adapters, or folders), method name -> run; the switches do not change.

        The first runs of a board decide which switches there are.

        Raises:
            TypeError: something given as a run is not a run, adapter or folder.
            ValueError: there are no runs; a run is of another task or base, or has adapters on other modules. The board is as
                before.
        """
        check_sources("runs", runs)
        adapters = {name: adapter_of(self.task, source, f"runs[{name!r}]") for name, source in runs.items()}
        sites = [self._evaluator.sites(adapter) for adapter in adapters.values()]
        expected = self._sites if self._runs else sites[0]
        for name, own in zip(adapters, sites, strict=True):
            if own != expected:
                other = sorted(set(own.names) ^ set(expected.names))[0]
                raise ValueError(
                    f"runs[{name!r}] has adapters on other modules than this board has switches for: only one of the two has "
                    f"{other}. Make a separate board for this run."
                )
        everything = torch.ones(len(expected), dtype=torch.bool)
        scores = self._evaluator([Variant(adapter, everything, name) for name, adapter in adapters.items()])
        if not self._runs and expected != getattr(self, "_sites", None):
            self._make_switches(expected)
        self._runs, self._whole = adapters, dict(zip(adapters, scores.accuracy.tolist(), strict=True))
        chosen = self.method.value
        self.method.unobserve(self._score, "value")  # so that the run is scored only once, at the end
        self.method.options = list(runs)
        self.method.value = chosen if chosen in runs else next(iter(runs))
        self.method.observe(self._score, "value")
        self._enable(True)
        self._score()

    def _score(self, _: Any = None) -> None:
        if not self._runs:
            return
        name = self.method.value
        variants = [Variant(self._runs[name], self._mask, name)]
        self.scores = self._evaluator(variants, outputs=has_outputs(self.task))
        self._figure()
        right, accuracy = self.scores.values["correct"][0], self.scores.accuracy.item()
        change = compared(100 * (accuracy - self._whole[name]), "with all open")
        self.say(
            f"{html.escape(name)} with {int(self._mask.sum())} of {len(self._mask)} adapters open {verb(self.task)} "
            f"{int(right.sum())} of {len(right)} {self._scored.words} correctly: <b>{percent(accuracy, 1)}</b>, {change}."
            f"{self._worst(self.scores)}"
        )

    def _worst(self, scores: Scores) -> str:
        """A sentence about the most frequent mistake, for tasks with classes."""
        if scores.labels is None:
            return ""
        classes = self.task.classes
        mistakes = confusion_matrix(scores.logits[0].argmax(-1), scores.labels, len(classes)).fill_diagonal_(0)
        true, taken = divmod(int(mistakes.argmax()), len(mistakes))
        if not (times := int(mistakes.max())):
            return " There is no mistake."
        taken_for = f"{html.escape(classes[true])} taken for {html.escape(classes[taken])}"
        return f" Most frequent mistake: {taken_for}, {times} time{'s' * (times != 1)}."

    def _figure(self) -> Any:
        name = self.method.value
        return switchboard_figure(
            self.scores,
            self._scored.examples,
            self._scored.labels,
            self.task.classes,
            name=name or "",
            position=list(self._runs).index(name) if name in self._runs else 0,
            whole=self._whole.get(name),
            figure=getattr(self, "figure", None),
        )

    def _make_switches(self, sites: Sites) -> None:
        """Make toggles and pattern buttons for these modules; all adapters are open."""
        self._sites, self._mask = sites, module_mask(sites, None)
        of_block: dict[str, list[int]] = {}
        for module, block in enumerate(sites.blocks):
            of_block.setdefault(block, []).append(module)
        self.blocks = [self._switch(f"block {_last(name)}", modules) for name, modules in of_block.items()]
        self.modules = [
            self._switch(f"{_last(name).removesuffix('_proj')} {_last(block)}", [module])
            for module, (name, block) in enumerate(zip(sites.names, sites.blocks, strict=True))
        ]
        self.patterns = {
            name: _button(name, f"Open these adapters, shut the others: {name}", partial(self._set_mask, mask))
            for name, mask in paper_patterns(sites).items()
        }
        self.patterns[SURPRISE] = _button(SURPRISE, "Open adapters at random", self._surprise)
        by_block = list(zip(self.blocks, of_block.values(), strict=True))
        self._switches = by_block + [(switch, [module]) for module, switch in enumerate(self.modules)]
        patterns, switches = self._rows
        patterns.children = list(self.patterns.values())
        switches.children = [widgets.VBox([switch, *(self.modules[i] for i in modules)]) for switch, modules in by_block]
        self._show_mask()

    def _switch(self, description: str, modules: list[int]) -> widgets.ToggleButton:
        """A toggle of some modules. When `_show_mask` sets the toggle, the mask already has this value and does not change."""
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
        p = torch.rand(1, generator=self._generator)  # so that all numbers of open adapters are about equally likely
        self.mask = torch.rand(len(self._mask), generator=self._generator) < p

    def _show_mask(self) -> None:
        for switch, modules in self._switches:
            are_open = self._mask[modules]
            switch.value = bool(are_open.all())
            switch.icon = "check" if are_open.all() else "minus" if are_open.any() else "times"
            switch.button_style = "primary" if are_open.all() else ""
            state = "open" if are_open.all() else "partly open" if are_open.any() else "shut"
            switch.tooltip = f"{switch.description} is {state}"  # for screen readers: a toggle does not report its state

    def _enable(self, enabled: bool) -> None:
        for control in (self.method, *self.patterns.values(), *(switch for switch, _ in self._switches)):
            control.disabled = not enabled


def _untrained(task: Task) -> Adapter:
    """The adapter of a training that has not begun, for the switches that are shown before there is a run."""
    with OwnRandomNumbers(0, torch.device("cpu")).active():
        return Adapter.from_model(add_adapter(task.load_base(), Recipe().peft_config(task.target_modules)))


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _button(description: str, tooltip: str, action: Callable[[widgets.Button], None]) -> widgets.Button:
    button = widgets.Button(description=description, tooltip=tooltip, layout=widgets.Layout(width="auto"))
    button.on_click(action)
    return button


def _wrapped(children: Sequence[widgets.Widget]) -> widgets.HBox:
    return widgets.HBox(children, layout=widgets.Layout(flex_flow="row wrap"))
