"""Everything that a report measures of one adapter."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Bool
from torch import Tensor

from coto_lab.gating.coto import training_masks
from coto_lab.gating.schedules import Linear, Schedule
from coto_lab.probes.cost import towers_apart
from coto_lab.probes.pruning import PruningTable, paper_patterns, prune
from coto_lab.probes.sparsity import SparsityCurve, sparsity_curve
from coto_lab.probes.stability import Stability, stability
from coto_lab.report.game import Game, block_game, exact_game, kinds_of
from coto_lab.report.plan import MOST_KINDS, Plan, make_plan
from coto_lab.report.remembering import Remembering
from coto_lab.report.spectra import Spectra, spectra
from coto_lab.report.subject import Subject
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.sites import Sites
from coto_lab.scoring.variant import Variant
from coto_lab.tasks.hub.metrics import metric_table
from coto_lab.tasks.part import Part
from coto_lab.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd

PLANNED_STEPS = 1000  # of the training whose masks are counted where the adapter's own is not known


@dataclass(frozen=True, eq=False)
class Measures:
    """What was measured of one adapter.

    Attributes:
        subject: the adapter.
        does: what a model does with an example: ``"classifies"``, ``"answers"``, or of a number ``"predicts"``.
        sites: its modules and their blocks.
        plan: on how many examples, and how many choices.
        examples: how many test examples the scores are over.
        pass_seconds: how long one variant took on all of them.
        scores: of two variants, ``"base"`` (all gates closed) and ``"adapter"``.
        metrics: of the two, what the task is measured by beside accuracy and loss; None where it gives no predictions.
        blocks: Shapley values of the blocks.
        kinds: Shapley values of the kinds of module; None where there is one, or too many.
        patterns: scores of the paper's pruning patterns.
        sparsity: scores with small entries set to 0; None for a method without factors A and B.
        stability: scores with some of the blocks open.
        spectra: norms and singular values of the updates; None for a method without ΔW.
        masks: which blocks CoTo opens at each step, ``BoolTensor [T, n_blocks]``.
        schedule: by which they were drawn.
        towers: of each block, where the model's towers meet in the loss alone (`coto_lab.probes.cost.towers_apart`), else None.
        own_masks: whether ``masks`` are those of the adapter's own training.
    """

    subject: Subject
    does: str
    sites: Sites
    plan: Plan
    examples: int
    pass_seconds: float
    scores: Scores
    metrics: pd.DataFrame | None
    blocks: Game
    kinds: Game | None
    patterns: PruningTable
    sparsity: SparsityCurve | None
    stability: Stability
    spectra: Spectra | None
    masks: Bool[Tensor, "T n_blocks"]
    schedule: Schedule
    towers: Tensor | None
    own_masks: bool

    @property
    def predicts_numbers(self) -> bool:
        """Whether the answers are numbers: then one within 0.5 counts as correct, and the loss is a squared error."""
        return self.does == "predicts"

    @property
    def gives_shares(self) -> bool:
        """Whether an answer may be right in part."""
        correct = self.scores.values["correct"]
        return bool(((correct > 0) & (correct < 1)).any())

    @property
    def unit(self) -> str:
        """Of the loss, after a number."""
        return "" if self.predicts_numbers else " nats"

    @property
    def headings(self) -> tuple[str, str]:
        """What tables call the share of right answers and the loss."""
        if self.predicts_numbers:
            return "within 0.5, %", "squared error"
        return "mean score, %" if self.gives_shares else "accuracy, %", "loss, nats"

    def examples_of(self, part: str) -> int:
        """How many test examples a part of the plan took."""
        return -(-self.examples // self.plan.steps[part])


class Measuring:
    """Measures one adapter, in two moves, so that a progress bar knows what is left.

    Args:
        task: what it is scored on.
        subject: the adapter.
        step: every how many of the task's test examples are taken.
        seconds: how long the parts beyond the scores may take; None sets no limit.
        moved: is told how many examples have been scored.
        like: an evaluator on the same base model.

    Attributes:
        task: with the test examples that are taken.
        sites: the adapter's modules and their blocks.
        scores: of the base model and the adapter.
        pass_seconds: how long one variant took.
        plan: what else will be scored.
        planned: how many examples will be scored, all variants together.

    Raises:
        ValueError: the adapter does not fit the base model, or has no parts that could be left out.
    """

    def __init__(
        self,
        task: Task,
        subject: Subject,
        step: int,
        seconds: float | None,
        moved: Callable[[int], None],
        like: Remembering | None = None,
    ):
        self.subject, self._moved, self._like = subject, moved, like
        self.task = Part(task, step)
        self._scorers: dict[int, Remembering] = {}
        score = self.scorer(1)
        self.sites = score.sites(score.adapter)
        gates = score.gates(score.adapter)  # compares all names and shapes with the base model
        first = [gates.modules.index(self.sites.names[self.sites.blocks.index(block)]) for block in self.sites.block_names]
        self._towers = gates.towers[first]
        shared = score.shares_blocks
        started = time.perf_counter()
        self.scores = score(self.ends())
        self.pass_seconds = (time.perf_counter() - started) / 2
        self._patterns = paper_patterns(self.sites)
        self._kinds = kinds_of(self.sites)
        self.plan = make_plan(
            len(self.sites.block_names), len(self._kinds), len(self._patterns), self.task.size("test"),
            shared=shared, pass_seconds=self.pass_seconds, seconds=seconds,
        )  # fmt: skip
        sizes = {part: self.scorer(step).task.size("test") for part, step in self.plan.steps.items()}
        self.planned = sum(self.plan.variants[part] * size for part, size in sizes.items())

    def scorer(self, step: int) -> Remembering:
        """The evaluator on every ``step``-th of the examples."""
        if step not in self._scorers:
            part = Part(self.task, step)
            size, like = part.size("test"), self._scorers.get(1, self._like)
            self._scorers[step] = Remembering(
                part, self.subject.adapter, like=like, moved=lambda variants: self._moved(variants * size)
            )
        return self._scorers[step]

    def ends(self) -> list[Variant]:
        """The base model, which is the adapter with every gate closed, and the adapter."""
        adapter = self.scorer(1).adapter
        return [Variant(adapter, paper_patterns(self.sites)["none"], "base"), Variant(adapter, None, "adapter")]

    def measure(self) -> Measures:
        """All parts, one after another."""
        plan = self.plan
        score = {part: self.scorer(step) for part, step in plan.steps.items()}
        kinds = None
        if 1 < len(self._kinds) <= MOST_KINDS:
            kinds = exact_game(score["kinds"], self._kinds, tuple(self._kinds))
        try:
            sparse = sparsity_curve(score["sparsity"].task, score["sparsity"].adapter, evaluator=score["sparsity"])
        except ValueError:  # no factors A and B
            sparse = None
        try:
            measured = spectra(self.scorer(1).adapter, self.scorer(1).base, self.sites)
        except ValueError:  # no ΔW
            measured = None
        run = self.subject.run
        own = run is not None and not run.history.mask.all()
        masks = training_masks(self._towers.numpy(), Linear(), total_steps=PLANNED_STEPS, seed=0)
        return Measures(
            subject=self.subject,
            does="classifies" if self.task.classes else "predicts" if self._labelled() else "answers",
            sites=self.sites,
            plan=plan,
            examples=self.task.size("test"),
            pass_seconds=self.pass_seconds,
            scores=self.scores,
            metrics=self._metrics(),
            blocks=block_game(score["blocks"], self.sites, plan.exact, plan.orders),
            kinds=kinds,
            patterns=prune(score["patterns"].task, score["patterns"].adapter, evaluator=score["patterns"]),
            sparsity=sparse,
            stability=stability(
                score["stability"].task, score["stability"].adapter, samples=plan.samples, evaluator=score["stability"]
            ),
            spectra=measured,
            masks=run.history.mask if run is not None and own else masks,
            schedule=run.recipe.schedule if run is not None and own else Linear(),
            towers=towers_apart(self.scorer(1).base, self._towers),
            own_masks=own,
        )

    def _metrics(self) -> pd.DataFrame | None:
        if not self._labelled():
            return None
        classes = len(self.task.classes)
        names = ("f1", "matthews") if classes == 2 else ("matthews",) if classes else ("pearson", "spearman")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few examples, which may all be alike; the table then says nan
            return metric_table(self.scores, names).drop(columns="name")

    def _labelled(self) -> bool:
        return {"prediction", "label"} <= self.scores.values.keys()
