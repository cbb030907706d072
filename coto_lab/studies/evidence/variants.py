"""Topic 14: the variants of LoRA, each with and without CoTo, at its own best learning rates.

Its verdicts are not among the claims of the page's first table, which are about LoRA.
"""

from __future__ import annotations

from dataclasses import asdict

import torch

from coto_lab.figures.variants import variants_figure
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.variant import Variant
from coto_lab.studies.evidence.records import Numbers, Section, compare, summary
from coto_lab.studies.evidence.values import Values
from coto_lab.studies.variant_table import SCORES, fusion_of, pairs_of
from coto_lab.studies.variants import COTO, ENTRIES, KEPT_SEED, PLAIN, TASKS, WAYS, load_variant, recipe_of
from coto_lab.tasks import load_task

CLAIMED = ("alone", "pruned", "fused")  # the scores on which CoTo should be above plain
RIVALS = ("LoRA", "rsLoRA")
ALLOWED = 0.5  # points between an adapter's score and that of its copy in half precision: 8 of the digits


def values(leg: Numbers) -> Values:
    """Test accuracy in %: ``base``, a scalar, and ``kept``: method -> way -> scalar, of the adapters that ship.

    Args:
        leg: of `coto_lab.studies.variants.table`, such as ``table()["legs"]["digits"]``.
    """
    evaluator = Evaluator(load_task(leg["task"]))
    adapters = {(name, way): load_variant(name_of(leg), name, way) for name in leg["runs"] for way in WAYS}
    first = next(iter(adapters.values()))
    nothing = torch.zeros(len(evaluator.sites(first)), dtype=torch.bool)
    scores = evaluator([Variant(first, nothing), *(Variant(adapter) for adapter in adapters.values())])
    base, *kept = 100 * scores.accuracy
    found: Values = {"base": base, "kept": {name: {} for name in leg["runs"]}}
    for (name, way), accuracy in zip(adapters, kept, strict=True):
        found["kept"][name][way] = accuracy
    return found


def judge(found: Values, leg: Numbers) -> Section:
    """Numbers and the figure of this topic.

    Args:
        found: what `values` measured.
        leg: as for `values`.

    Raises:
        ValueError: an adapter that ships scores otherwise than the table says, by more than its half precision explains.
    """
    numbers: Numbers = {
        "task": leg["task"],
        "steps": recipe_of(name_of(leg), "LoRA", PLAIN, 1e-3, 0).steps,
        "base": round(found["base"].item(), 4),
        "farthest": _farthest(found, leg),
        "methods": {name: _method(leg, name) for name in leg["runs"]},
    }
    differences = {
        SCORES[score]: {
            name: (own["mean"], own["low"], own["high"])
            for name, method in numbers["methods"].items()
            for own in [method["scores"][score]["difference"]]
        }
        for score in CLAIMED
    }
    return Section(numbers, figures={"variants": variants_figure(differences)})


def name_of(leg: Numbers) -> str:
    """The name of a leg of the table."""
    return next(name for name, task in TASKS.items() if task == leg["task"])


def _farthest(found: Values, leg: Numbers) -> float:
    """The largest difference in points between what an adapter scored and what its copy in half precision scores."""
    apart = {
        (name, way): abs(accuracy.item() - leg["runs"][name][way]["alone"][KEPT_SEED])
        for name, own in found["kept"].items()
        for way, accuracy in own.items()
    }
    if wrong := {pair: points for pair, points in apart.items() if points > ALLOWED}:
        raise ValueError(
            f"these adapters on {leg['task']!r} score otherwise than the table says, by so many points of accuracy: {wrong}. "
            f"Half precision explains {ALLOWED:g}. Make the table and the adapters again: make variants."
        )
    return round(max(apart.values()), 4)


def _method(leg: Numbers, name: str) -> Numbers:
    own, cost = leg["runs"][name], leg["cost"][name]
    scores: Numbers = {}
    for score in SCORES:
        columns = {way: summary(own[way][score]) for way in WAYS}
        difference = compare(columns[COTO], columns[PLAIN], pairs_of(score))
        scores[score] = {**columns, "difference": asdict(difference)}
        if score in CLAIMED:
            scores[score]["verdict"] = difference.verdict("above")
    return {
        "held equal": ENTRIES[name].at,
        "fusion of": fusion_of(recipe_of(name_of(leg), name, PLAIN, 1e-3, 0).adapter_method),
        "lr": {way: own[way]["lr"] for way in WAYS},
        "tried": {way: list(own[way]["sweep"]) for way in WAYS},
        "cost": cost,
        "scores": scores,
        "against": {
            rival: {way: asdict(compare(scores["alone"][way], summary(leg["runs"][rival][way]["alone"]))) for way in WAYS}
            for rival in RIVALS
            if rival != name
        },
        **({"as trained": {way: _as_trained(own[way]) for way in WAYS}} if "none_as_trained" in own[PLAIN] else {}),
    }


def _as_trained(own: Numbers) -> Numbers:
    """What is left if a dropped block computes what it did in training, and not what the pre-trained block does."""
    pruned, shut = summary(own["pruned"]), summary(own["pruned_as_trained"])
    return {
        "pruned": pruned,
        "pruned_as_trained": shut,
        "difference": asdict(compare(shut, pruned)),
        "none_as_trained": own["none_as_trained"][0],
    }
