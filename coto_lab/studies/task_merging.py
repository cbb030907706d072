"""The comparison of merging rules: which options are tried, how they are chosen, and what is scored.

Six adapters, one of each task of a set, become one, which is then scored on all six tasks. A rule with options takes those
with the best mean score on a few training examples of every task, over all five seeds; LoRA and CoTo each choose their own.
Test examples have no part in the choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.ground.files import data_path, read_json
from coto_lab.merging.core_space import CoreSpace
from coto_lab.merging.dare import Dare
from coto_lab.merging.ensemble import Ensemble
from coto_lab.merging.fuse import Fuse
from coto_lab.merging.lego import Lego
from coto_lab.merging.lora_star import LoRAStar
from coto_lab.merging.magnitude import Magnitude
from coto_lab.merging.merge import merge
from coto_lab.merging.retrieval import Retriever, choose, score_retrieved
from coto_lab.merging.rule import Rule
from coto_lab.merging.svd import Svd
from coto_lab.merging.task_arithmetic import TaskArithmetic
from coto_lab.merging.ties import Ties
from coto_lab.merging.zip import Zip
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.variant import Variant
from coto_lab.studies.task_sets import TaskSet
from coto_lab.tasks import load_task
from coto_lab.tasks.joint import Joint
from coto_lab.tasks.part import Chosen

TABLE = "merged.json"
FEW = 64  # training examples of each task, on which options are chosen
COUNTS = range(2, 7)  # numbers of tasks that are merged
STARTS = (0, 2, 4)  # where so many neighbouring tasks begin, in the order of the set


@dataclass(frozen=True)
class Options:
    """A rule with its options.

    Attributes:
        rule: that merges.
        weight: of every adapter; None leaves it to the rule.
    """

    rule: Rule
    weight: float | None = None

    def __str__(self) -> str:
        return str(self.rule) if self.weight is None else f"{self.rule}, weights {self.weight:g}"

    def merged(self, adapters: Sequence[Adapter]) -> Adapter:
        """One adapter from several."""
        return merge(adapters, self.rule, None if self.weight is None else [self.weight] * len(adapters))


_SCALES = (0.1, 0.15, 0.2, 0.3, 0.5)
_TIES = tuple(Ties(density, scale) for density in (0.2, 0.5) for scale in (0.2, 0.3, 0.5, 1.0))

# Grids of scales and weights were widened after the first trial on one seed-averaged set of training scores, whose best were at
# their lower ends. Densities and ranks were not followed beyond these values.
ENTRIES: Mapping[str, tuple[Options, ...]] = {
    "fuse": (Options(Fuse()),),
    "fuse, weighted": tuple(Options(Fuse(), weight) for weight in (0.2, 0.25, 0.33, 0.41)),  # 0.41: PEFT's, the root of 1/6
    "ensemble": (Options(Ensemble()),),
    "cat": (Options(TaskArithmetic(1.0)),),
    "task arithmetic": tuple(Options(TaskArithmetic(scale)) for scale in _SCALES),
    "ties": tuple(map(Options, _TIES)),
    "dare": tuple(Options(Dare(density, of=TaskArithmetic(scale))) for density in (0.5, 0.8) for scale in _SCALES[1:4]),
    "magnitude": tuple(Options(Magnitude(density, TaskArithmetic(scale))) for density in (0.2, 0.5) for scale in _SCALES[1:]),
    "svd": tuple(Options(Svd(rank, TaskArithmetic(scale))) for rank in (4, 8) for scale in _SCALES[1:4]),
    "lego": tuple(Options(Lego(rank)) for rank in (4, 8, 12, 16)),
    "lora*": tuple(Options(LoRAStar(), weight) for weight in (None, 0.2, 0.25, 0.33)),
    "core space": tuple(Options(CoreSpace(ties)) for ties in _TIES),
}

# The rules of the paper, for which the number of tasks varies; LoRA-LEGO with the rank of the adapters, as in the paper.
COUNTED: Mapping[str, Options] = {"fuse": Options(Fuse()), "ensemble": Options(Ensemble()), "lego": Options(Lego())}
LEARNED = Zip(steps=100, lr=3e-2)


@dataclass(frozen=True)
class Retrieved:
    """How adapters are chosen for each input.

    Attributes:
        k: how many.
        rule: that merges them.
        own_left_out: whether the adapter of the input's own task is never chosen.
    """

    k: int
    rule: Rule
    own_left_out: bool = False


RETRIEVED: Mapping[str, Retrieved] = {
    "retrieval, nearest": Retrieved(1, Fuse()),
    "retrieval, fusion": Retrieved(3, Fuse()),
    "retrieval, mixture": Retrieved(3, Ensemble()),
    "retrieval, own left out": Retrieved(3, Ensemble(), own_left_out=True),
}


def few_examples(tasks: TaskSet) -> Joint:
    """A few training examples of every task, as a test set: what options are chosen on."""
    parts = []
    for name in tasks.tasks:
        task = load_task(name)
        places = torch.linspace(0, task.size("train") - 1, FEW).long().tolist()
        parts.append(Chosen(task, places, "train"))
    return Joint(parts, f"{tasks.name}, few", tasks.padding)


def scored_examples(tasks: TaskSet, most: int | None = None) -> Joint:
    """Test examples of every task: every so many-th of those that have more than ``most``.

    Args:
        tasks: the set.
        most: examples of a task; None takes the set's.
    """
    limit = tasks.most if most is None else most
    every = [load_task(name) for name in tasks.tasks]
    parts = [task.every(-(-task.size("test") // limit)) for task in every]
    return Joint(parts, f"{tasks.name}, test", tasks.padding)


def by_task(scores: Scores, joint: Joint, measure: str) -> Float64[Tensor, "V tasks"]:
    """Mean of a measure in %, of each variant on each task of ``joint``: ``[V, tasks]``."""
    values = scores.values[measure]
    return torch.stack([100 * values[:, own.start : own.stop].mean(1) for own in joint.places("test")], dim=1)


def scored(joint: Joint, adapters: Sequence[Adapter], measure: str) -> Float64[Tensor, "V tasks"]:
    """What adapters score on each task of ``joint``, in %: ``[V, tasks]``."""
    return by_task(Evaluator(joint)([Variant(adapter) for adapter in adapters]), joint, measure)


def counted(
    tasks: TaskSet, joint: Joint, adapters: Sequence[Adapter], rules: Sequence[Options]
) -> dict[int, list[Float64[Tensor, " rules"]]]:
    """Number of tasks -> for each choice of so many (`windows`), what their merged adapters score on them, in %: ``[rules]``.

    Args:
        tasks: the set.
        joint: test examples of all its tasks.
        adapters: one of each task.
        rules: that merge.
    """
    evaluator, own = Evaluator(joint), joint.places("test")
    found: dict[int, list[Tensor]] = {}
    for n in COUNTS:
        found[n] = []
        for places in windows(tasks, n):
            variants = [Variant(options.merged([adapters[i] for i in places])) for options in rules]
            scores = evaluator(variants, examples=[example for i in places for example in own[i]])
            each = [values.mean(1) for values in scores.values[tasks.measure].split([len(own[i]) for i in places], dim=1)]
            found[n].append(100 * torch.stack(each).mean(0))
    return found


def windows(tasks: TaskSet, count: int) -> list[list[int]]:
    """The places of the tasks that are merged if there are so many; all tasks together are there once."""
    n = len(tasks.tasks)
    return [[(start + i) % n for i in range(count)] for start in (STARTS if count < n else STARTS[:1])]


def similarity(tasks: TaskSet, joint: Joint) -> Float[Tensor, "N n"]:
    """How like each of the n tasks each of the N examples of ``joint`` is, to the base alone: the same for all adapters."""
    return Retriever([load_task(name) for name in tasks.tasks]).similarity(joint)


def retrieved_scores(joint: Joint, alike: Float[Tensor, "N n"], adapters: Sequence[Adapter], options: Retrieved) -> Scores:
    """What each example of ``joint`` scores with the adapters that are chosen for it.

    Args:
        joint: test examples of all tasks of a set, in their order.
        alike: as `similarity` gives it.
        adapters: one of each task.
        options: how they are chosen and merged.
    """
    own = torch.cat([torch.full((len(places),), i) for i, places in enumerate(joint.places("test"))])
    choices = choose(alike, options.k, own if options.own_left_out else None)
    return score_retrieved(joint, choices, adapters, options.rule)


def table() -> dict[str, Any]:
    """What was measured; ``data/make_merged.py`` says what it holds."""
    return read_json(data_path("gallery", TABLE))
