"""Variants in, scores out: the only part of the lab that runs a model on finished adapters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.configuration import changes_base
from coto_lab.adapters.peft_model import put_in, twin
from coto_lab.adapters.stack import AdapterStack
from coto_lab.gating.gates import Gates
from coto_lab.ground.caller import warn_user
from coto_lab.ground.device import default_device
from coto_lab.ground.lists import list_of
from coto_lab.ground.numbers import whole_number
from coto_lab.scoring.block_chain import NotAChain
from coto_lab.scoring.one_by_one import OneByOne
from coto_lab.scoring.processes import by_all_processes
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.sheet import Sheet
from coto_lab.scoring.sites import Sites, find_sites
from coto_lab.scoring.sources import check_base, check_new_layers
from coto_lab.scoring.tree import TreeScorer
from coto_lab.scoring.variant import Variant, check_adapter
from coto_lab.tasks.check import check_split, check_task, fresh_base, try_task
from coto_lab.tasks.part import chosen_places
from coto_lab.tasks.task import Task, generates, has_outputs


class Evaluator:
    """Scores variants.

    Plain LoRA adapters are scored together, as rows of one batch on the shared base, and variants that agree in their
    lower blocks share the computation of those (`TreeScorer`). Adapters of other methods, and models whose blocks do not
    form a chain or which write their answers (``generates``, see `Task`), are scored one after the other (`OneByOne`); the
    scores are the same but for rounding. New layers that were trained whole (``modules_to_save``) are an adapter's own: its
    variants are scored together, those of two such adapters are not.

    The base model is loaded once. What is built on it, for each configuration of adapters, shares its weights and is kept.
    Where several processes run (``accelerate launch``), each scores its share of the variants, and all get all scores.

    Args:
        task: what to score on.
        device: where to run; None takes the accelerator if there is one.
        batch_size: examples of one variant in a forward pass.
        memory: bytes that the activations of variants scored together may take; None chooses by the device.
        together: False scores all variants one after the other.

    Raises:
        TypeError: ``task`` lacks a part of the protocol.
        ValueError: ``batch_size`` below 1, or ``memory`` below 0; later, ``memory`` too small for one variant, or a measure of
            the task that has another length than the batch or is not finite for the base model.
    """

    def __init__(
        self,
        task: Task,
        *,
        device: torch.device | str | None = None,
        batch_size: int = 64,
        memory: int | None = None,
        together: bool = True,
    ):
        check_task(task)
        self.task = task
        self.device = torch.device(device or default_device())
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.memory = None if memory is None else whole_number("memory", memory, 0)
        self.together = together
        self._base: nn.Module | None = None
        self._sites: dict[frozenset[str], Sites] = {}  # by the names of the tensors
        self._trees: dict[frozenset[str], TreeScorer | None] = {}  # by the names of the factors
        self._models: dict[str, OneByOne] = {}  # by the configuration
        self._tried: set[str] = set()  # splits on which the task was tried

    def sites(self, adapter: Adapter) -> Sites:
        """The modules that ``adapter`` adapts and their blocks; no adapter layer is built.

        Raises:
            TypeError: ``adapter`` is no `Adapter`.
            ValueError: the adapter does not fit the base model.
        """
        check_adapter(adapter)
        names = frozenset(adapter.tensors)
        if names not in self._sites:
            self._sites[names] = find_sites(self._load(), adapter)
        return self._sites[names]

    def gates(self, adapter: Adapter) -> Gates:
        """The gates of a PEFT model that carries an adapter like this one, one per adapted module.

        Raises:
            TypeError: ``adapter`` is no `Adapter`.
            ValueError: the adapter does not fit the base model.
        """
        check_adapter(adapter)
        return self._one_by_one(adapter).gates

    def __call__(
        self,
        variants: Sequence[Variant],
        *,
        split: str = "test",
        examples: Sequence[int] | None = None,
        outputs: bool = False,
    ) -> Scores:
        """What every variant scores on the ``"test"`` or ``"train"`` split.

        Args:
            variants: at least one.
            split: which examples.
            examples: the places of some of them, which are scored in this order; None scores all.
            outputs: whether what the variants say is wanted, too: the class logits ``[V, N, classes]``, or, of a task without
                classes, the answers as text.

        Raises:
            TypeError: ``variants`` is no list of Variants.
            ValueError: no variants; an adapter of another base, or without the task's new layers; an unknown split; no
                such examples; outputs of a task that has neither classes nor ``say``; a mask or an adapter that does not fit
                the model; a measure or an answer of the task that does not fit (`coto_lab.tasks.check`); ``memory`` too small.

        Warns:
            UserWarning: a value is not finite.
        """
        chosen = list_of("variants", variants, Variant, "give a list of Variants, such as [Variant(run.adapter)].")
        check_split(split)
        for i, variant in enumerate(chosen):
            check_base(self.task, variant.adapter.base, f"variants[{i}]")
        if outputs and not has_outputs(self.task):
            raise ValueError(
                f"outputs=True: task {self.task.name!r} has no classes, so there are no class logits; and it has no method "
                "'say', so there are no answers as text."
            )
        if split not in self._tried:
            try_task(self.task, self._load(), split)
            self._tried.add(split)
        for i, variant in enumerate(chosen):  # now that the base model is known to have these layers
            check_new_layers(self.task, variant.adapter, f"variants[{i}]")
        size = self.task.size(split)
        places = range(size) if examples is None else chosen_places("examples", examples, size)
        settings = {"task": self.task.name, "split": split, "examples": f"{len(places)}, {places[0]} to {places[-1]}"}
        scores = by_all_processes(chosen, lambda share: self._score(share, split, places, outputs), **settings)
        for name, values in scores.values.items():
            if len(odd := (~values.isfinite()).nonzero()):
                variant, place = odd[0].tolist()
                warn_user(
                    f"{name!r} is {values[variant, place]} for variants[{variant}] on {split} example {places[place]} of task "
                    f"{self.task.name!r}, and {len(odd) - 1} times more. Either this adapter has diverged, or the task's "
                    "measure cannot be computed there."
                )
        return scores

    def _score(self, variants: Sequence[Variant], split: str, places: Sequence[int], outputs: bool) -> Scores:
        """By the fastest way that each variant allows."""
        times = Counter(id(variant.adapter) for variant in variants)
        distinct = {id(variant.adapter): variant.adapter for variant in variants}
        scorers = {key: self._scorer(adapter, times[key]) for key, adapter in distinct.items()}
        groups: dict[TreeScorer | OneByOne, list[int]] = {}
        for i, variant in enumerate(variants):
            groups.setdefault(scorers[id(variant.adapter)][0], []).append(i)
        parts, order = [], []
        for scorer, members in groups.items():
            chosen = [variants[i] for i in members]
            sheet = Sheet(self.task, len(chosen), places, outputs)
            adapters = [scorers[id(variant.adapter)][1] for variant in chosen]
            scorer.score(adapters, [variant.mask for variant in chosen], split, sheet)
            parts.append(sheet.scores(tuple(variant.name for variant in chosen)))
            order += members
        if len(parts) == 1:
            return parts[0]
        return Scores.join(parts).take(torch.tensor(order).argsort())

    def _scorer(self, adapter: Adapter, variants: int) -> tuple[TreeScorer | OneByOne, Adapter]:
        """What scores so many variants of an adapter, and the adapter that it is given for it.

        Modules that were trained whole are put into a base of their own, which pays for several variants of one adapter.
        """
        plain, whole = adapter.apart()
        if self.together and not generates(self.task) and (variants > 1 or not whole):
            tree = self._tree(plain, whole)
            if tree is not None:
                return tree, plain
        return self._one_by_one(adapter), adapter

    def _tree(self, adapter: Adapter, whole: Mapping[str, Tensor]) -> TreeScorer | None:
        """What scores adapters on these layers together; None where they have to be scored one by one."""
        try:
            layers = frozenset(adapter.factors())
        except ValueError:  # not plain LoRA
            return None
        if layers in self._trees and (not whole or self._trees[layers] is None):
            return self._trees[layers]
        try:
            rows = AdapterStack(put_in(twin(self._load()), whole), adapter)
            tree = TreeScorer(self.task, rows, batch_size=self.batch_size, memory=self.memory)
        except (TypeError, NotAChain):  # layers that are not linear; blocks that do not form a chain
            tree = None
        if not whole or tree is None:
            self._trees[layers] = tree
        return tree

    def _one_by_one(self, adapter: Adapter) -> OneByOne:
        config = json.dumps(adapter.config, sort_keys=True)
        if config not in self._models:
            copied = deepcopy if changes_base(adapter.config) else twin  # a base that is written into must not be shared
            self._models[config] = OneByOne(
                lambda: copied(self._load()), adapter, device=self.device, batch_size=self.batch_size
            )
        return self._models[config]

    def _load(self) -> nn.Module:
        if self._base is None:
            self._base = fresh_base(self.task).to(self.device).eval()
        return self._base


def evaluator_for(task: Task, evaluator: Evaluator | None) -> Evaluator:
    """``evaluator``, if it scores on ``task``; a new one for None.

    Raises:
        TypeError: it is no `Evaluator`.
        ValueError: it scores on another task.
    """
    if evaluator is None:
        return Evaluator(task)
    if not isinstance(evaluator, Evaluator):
        raise TypeError(f"evaluator={evaluator!r}: give an Evaluator(task), or None.")
    check_task(task)
    if evaluator.task is not task:
        sizes = [(t.name, t.base, t.size("test")) for t in (evaluator.task, task)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"evaluator scores on task {sizes[0][0]!r} with {sizes[0][2]} test examples, and task is {sizes[1][0]!r} with "
                f"{sizes[1][2]}: give an evaluator of this task, or None."
            )
    return evaluator
