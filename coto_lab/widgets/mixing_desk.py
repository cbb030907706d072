"""A mixing desk: one fader for the adapter of each task, and what the merged adapter makes of all tasks."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

import ipywidgets as widgets
import torch

from coto_lab.adapters.adapter import Adapter
from coto_lab.figures.task_bars import task_bars_figure
from coto_lab.ground.lists import check_dict
from coto_lab.ground.numbers import whole_number
from coto_lab.merging.merge import merge
from coto_lab.merging.registry import RULES
from coto_lab.merging.rule import Rule
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.sources import Source, adapter_of
from coto_lab.scoring.variant import Variant
from coto_lab.tasks.joint import Joint
from coto_lab.tasks.part import Part
from coto_lab.widgets.field import NumberField
from coto_lab.widgets.message import Message
from coto_lab.widgets.rule_options import options_of, with_options
from coto_lab.widgets.view import View
from coto_lab.widgets.words import percent

BASE, ALONE, TOGETHER = "base model", "the task's own adapter", "one adapter, trained on all tasks"
PRESETS = {  # what becomes of the fader of the chosen task, and of the others
    "only": (1.0, 0.0),
    "without": (0.0, 1.0),
    "minus": (-1.0, 1.0),
}
_ROW = {"flex_flow": "row wrap"}


class MixingDesk(View):
    """Mix the adapters of several tasks with faders, by any merging rule, and see the accuracy on each task.

    A fader at 1 gives an adapter the weight that the rule has by default: 1/n for rules that average, where n is the number of
    adapters that take part, and 1 for the others. A fader at 0 takes its adapter out of the mix; one below 0 subtracts it.

    The view scores a small part of each task's test set; that it is small lets a fader be answered at once. The marks beside
    the bars are scores on the same examples.

    Args:
        tasks: what the adapters were trained on.
        adapters: name of a method -> for each seed one run, adapter or folder per task, in the order of the tasks.
        together: name of a method -> for each seed one adapter that was trained on all tasks together; may be empty.
        images: the largest number of test examples of each task that are scored; they are evenly spaced.
        how: the rule that is chosen first, a name in `coto_lab.merging.registry.RULES`.

    Attributes:
        rule, method, seed: the choices.
        density, scale, rank: the rule's options; those that it does not have are hidden.
        faders: short name of a task -> its fader.
        chosen: the task that the presets are about.
        presets: name -> button.
        accuracy: what is shown: short name of a task -> accuracy in percent.
        message: the line that says what to enter, or why a mix is not possible; the figure is then as before.

    Raises:
        TypeError: ``tasks`` is no `Joint`; a wrong type in ``adapters`` or ``together``.
        ValueError: ``adapters`` is empty, or has not one adapter for each task; adapters of another base, or runs of another
            task; ``images`` is below 1; ``how`` is unknown.
    """

    def __init__(
        self,
        tasks: Joint,
        adapters: Mapping[str, Sequence[Sequence[Source]]],
        together: Mapping[str, Sequence[Source]] | None = None,
        *,
        images: int = 72,
        how: str = "fuse",
    ):
        if not isinstance(tasks, Joint):
            raise TypeError(f"tasks is a {type(tasks).__name__}: give Joint([task, ...], name).")
        if how not in RULES:
            raise ValueError(f"how={how!r}: must be one of {', '.join(map(repr, RULES))}.")
        check_dict("adapters", adapters, object, "give a dict, such as {'CoTo': [[run, ...], ...]}.")
        limit = whole_number("images", images, 1)
        parts = [Part(task, -(-task.size("test") // limit)) for task in tasks.tasks]
        self.task = Joint(parts, tasks.name, tasks.padding)
        self._places = self.task.places("test")
        self._evaluator = Evaluator(self.task)
        self._adapters = {name: [_row(tasks, own, name, i) for i, own in enumerate(seeds)] for name, seeds in adapters.items()}
        self._together = {
            name: [adapter_of(tasks, item, f"together[{name!r}][{i}]") for i, item in enumerate(seeds)]
            for name, seeds in (together or {}).items()
        }
        self._frames: dict[tuple[str, int], dict[str, dict[str, float]]] = {}
        self._paused = False  # several controls are being set: score once, at the end
        self._make_controls([task.name.rpartition("/")[2] for task in parts], how)
        self.message = Message(self._inputs())  # before the desk itself listens: a control first clears the line
        self._connect()
        rows = [
            [self.rule, self.method, self.seed],
            [self.density, self.scale, self.rank],
            [self.chosen, *self.presets.values()],
        ]
        choices, options, presets = (widgets.HBox(row, layout=_ROW) for row in rows)
        self.accuracy: dict[str, float] = {}
        super().__init__(
            task_bars_figure({}, self._frame(), examples=self._examples()),
            [choices, options, *self.faders.values(), presets, self.message],
            "coto-desk",
        )
        self._show_options()
        self._mix()

    def score(self, faders: Sequence[float]) -> dict[str, float]:
        """The accuracy on each task, in percent, with other faders and all else as it is; the desk does not change.

        Raises:
            ValueError: not one number for each task; or the rule cannot mix so.
        """
        if len(faders) != len(self.faders):
            raise ValueError(f"faders={list(faders)!r}: give one number for each of {', '.join(self.faders)}.")
        adapters = self._adapters[self.method.value][self.seed.value]
        used = [(adapter, float(fader)) for adapter, fader in zip(adapters, faders, strict=True) if fader]
        if not used:
            return self._frame()[BASE]
        rule = self._rule()
        share = 1 / len(used) if rule.averages else 1.0
        merged = merge([adapter for adapter, _ in used], rule, [share * fader for _, fader in used])
        return self._by_task(self._evaluator([Variant(merged)]), 0)

    def move(self, faders: Sequence[float]) -> None:
        """Set all faders at once; the mix is scored once.

        Raises:
            ValueError: not one number for each task, or one that is out of the faders' range.
        """
        self._paused = True
        try:
            for field, value in zip(self.faders.values(), faders, strict=True):
                field.value = value
        finally:
            self._paused = False
        self._mix()

    def _make_controls(self, names: list[str], how: str) -> None:
        self.rule = widgets.Dropdown(description="rule", options=list(RULES), value=how, layout={"width": "16em"})
        wide = {"description_width": "6.5em"}
        self.method = widgets.ToggleButtons(description="adapters of", options=list(self._adapters), style=wide)
        seeds = range(min(map(len, self._adapters.values())))
        self.seed = widgets.Dropdown(description="seed", options=list(seeds), layout={"width": "10em"})
        ranks = [adapter.config.get("r") or 1 for adapter in next(iter(self._adapters.values()))[0]]
        self._highest = max(ranks)
        self.density = NumberField("density", 0.5, 0.05, 1, 0.05)
        self.scale = NumberField("scale", 1, 0, 3, 0.1)
        self.rank = NumberField("rank", self._highest, 1, sum(ranks), 1, whole=True)
        width = 0.6 * max(map(len, names)) + 0.5
        self.faders = {name: NumberField(name, 1, -1, 3, 0.1, label_width=width) for name in names}
        self.chosen = widgets.Dropdown(description="task", options=names, layout={"width": "16em"})
        tips = {
            "only": "the adapter of this task, and no other",
            "without": "all adapters but that of this task",
            "minus": "all adapters, and that of this task subtracted",
        }
        everything = widgets.Button(description="all equal", tooltip="all faders at 1")
        own = {name: widgets.Button(description=f"{name} it", tooltip=tip) for name, tip in tips.items()}
        self.presets = {"all equal": everything, **own}

    def _connect(self) -> None:
        self.presets["all equal"].on_click(lambda _: self.move([1.0] * len(self.faders)))
        for name, (its, others) in PRESETS.items():
            self.presets[name].on_click(partial(self._preset, its, others))
        for field in (self.density, self.scale, self.rank, *self.faders.values()):
            field.slider.continuous_update = False  # the mix is scored where the handle is let go
            field.observe(self._mix, "value")
        self.rule.observe(self._new_rule, "value")
        self.method.observe(self._mix, "value")
        self.seed.observe(self._mix, "value")

    def _inputs(self) -> list[widgets.Widget]:
        options = [self.density, self.scale, self.rank]
        return [self.rule, self.method, self.seed, *options, *self.faders.values(), self.chosen, *self.presets.values()]

    def _preset(self, its: float, others: float, _: widgets.Button) -> None:
        self.move([its if name == self.chosen.value else others for name in self.faders])

    def _new_rule(self, _: Any) -> None:
        self._show_options()
        self._mix()

    def _show_options(self) -> None:
        """Show the sliders of the options that the rule has, at the rule's defaults."""
        self._paused = True
        own = options_of(RULES[self.rule.value])
        for name in ("density", "scale", "rank"):
            field = getattr(self, name)
            field.layout.display = "" if name in own else "none"
            if name in own:
                field.value = self._highest if own[name] is None else own[name]
        self._paused = False

    def _rule(self) -> Rule:
        rule = RULES[self.rule.value]
        return with_options(rule, {name: getattr(self, name).value for name in options_of(rule)})

    def _mix(self, _: Any = None) -> None:
        """Score the mix that the controls say, and draw it."""
        if self._paused:
            return
        try:
            accuracy = self.score([field.value for field in self.faders.values()])
        except ValueError as error:  # this rule cannot mix so, as LoRA-LEGO with a negative weight
            reason = re.sub(r"^weights=\[.*?\]: ", "", str(error))  # shares of the faders, which the reader never typed
            self.message.say(f"{self.rule.value} cannot mix so: {reason} The figure is as before.")
            return
        self.accuracy = accuracy
        task_bars_figure(accuracy, self._frame(), self.method.value, self._examples(), figure=self.figure)
        self.say(self._sentence())

    def _frame(self) -> dict[str, dict[str, float]]:
        """What the marks show: scores of the base, of each task's own adapter, and of the adapter that learned all tasks."""
        place = self.method.value, self.seed.value
        if place not in self._frames:
            adapters = self._adapters[place[0]][place[1]]
            none = torch.zeros(len(self._evaluator.sites(adapters[0])), dtype=torch.bool)
            together = self._together.get(place[0], [])[place[1] : place[1] + 1]
            variants = [Variant(adapters[0], none), *map(Variant, adapters), *map(Variant, together)]
            scores = self._evaluator(variants)
            own = {name: self._by_task(scores, i)[name] for i, name in enumerate(self.faders, start=1)}
            frame = {BASE: self._by_task(scores, 0), ALONE: own}
            if self._together:
                frame[TOGETHER] = self._by_task(scores, len(variants) - 1) if together else {}
            self._frames[place] = frame
        return self._frames[place]

    def _by_task(self, scores: Scores, variant: int) -> dict[str, float]:
        right = scores.values["correct"][variant]
        found = zip(self.faders, self._places, strict=True)
        return {name: 100 * right[own.start : own.stop].mean().item() for name, own in found}

    def _examples(self) -> str:
        sizes = {len(own) for own in self._places}
        number = f"{max(sizes)}" if len(sizes) == 1 else f"up to {max(sizes)}"
        return f"{number} test examples of each task"

    def _sentence(self) -> str:
        lowest = min(self.accuracy, key=lambda name: self.accuracy[name])
        means = {what: percent(fmean(own.values()) / 100, 1) for what, own in self._frame().items() if own}
        mixed = sum(bool(field.value) for field in self.faders.values())
        return (
            f"{html.escape(self.method.value)}, seed {self.seed.value}, {html.escape(self.rule.value)} of {mixed} "
            f"adapter{'s' * (mixed != 1)}: mean accuracy on {self._examples()} is "
            f"<b>{percent(fmean(self.accuracy.values()) / 100, 1)}</b>, lowest on {html.escape(lowest)} "
            f"({percent(self.accuracy[lowest] / 100, 1)}). Means of the marks: "
            f"{', '.join(f'{what} {mean}' for what, mean in means.items())}."
        )


def _row(tasks: Joint, adapters: Sequence[Source], method: str, seed: int) -> list[Adapter]:
    """The adapters of one seed, one for each task."""
    if len(adapters) != len(tasks.tasks):
        raise ValueError(
            f"adapters[{method!r}][{seed}] has {len(adapters)} adapters, and there are {len(tasks.tasks)} tasks: give one for "
            "each."
        )
    pairs = zip(tasks.tasks, adapters, strict=True)
    return [adapter_of(task, item, f"adapters[{method!r}][{seed}][{i}]") for i, (task, item) in enumerate(pairs)]
