"""The numbers of the playground's figures, taken from the files that ``make evidence`` and ``data/make_masks.py`` wrote."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from coto_lab.ground.files import read_json
from coto_lab.probes.pruning import paper_patterns
from coto_lab.scoring.sites import Sites
from coto_lab.studies.evidence.records import PAIRS
from coto_lab.studies.gallery import SEEDS, SWEPT, run_name

Numbers = dict[str, Any]
BLOCKS, KINDS = 8, ("q_proj", "k_proj", "v_proj")

# Each figure shows what the page of evidence judges: topic and text of the claim.
CLAIMS = {
    "interpolation": (3, "Fused 1:1, two seeds of CoTo are better than two of LoRA"),
    "pruning": (4, "With every other block's adapter kept, CoTo is better"),
    "shapley": (6, "CoTo's Shapley values are spread more evenly over the blocks (coefficient of variation)"),
    "stability": (9, "With half of the blocks open, CoTo is better (mean over all masks): it is dropout stable"),
}


def figures(root: Path) -> Numbers:
    """What the page's ``figures.json`` contains; accuracies are in %, as in ``evidence.json``.

    Raises:
        KeyError: ``evidence.json`` lacks a number or a claim that a figure shows.
        ValueError: a file cannot be read, or ``masks.json`` lacks an adapter.
    """
    folder = root / "data/evidence"
    evidence, masks = read_json(folder / "evidence.json"), read_json(folder / "masks.json")
    return {
        "methods": list(SWEPT),
        "blocks": BLOCKS,
        "seeds": len(SEEDS),
        "base": evidence["pruning"]["base"],
        "interpolation": interpolation(evidence, masks),
        "pruning": pruning(evidence),
        "shapley": shapley(evidence),
        "stability": stability(masks),
        "claims": {name: claim(evidence, *which) for name, which in CLAIMS.items()},
    }


def interpolation(evidence: Numbers, masks: Numbers) -> Numbers:
    """Accuracy of two seeds and of their fusions. A pair has no order, so 1:2 and 2:1 have one number, and so have the ends.

    ``shut`` has what shutting one block changes, on a part of the examples.
    """
    fused = evidence["merging"]["scores"]
    columns = [evidence["accuracy"]["scores"], fused["1:2"], fused["1:1"], fused["1:2"], evidence["accuracy"]["scores"]]
    return {
        "examples": evidence["about"]["test_images"],
        "shares": [0, 1 / 3, 1 / 2, 2 / 3, 1],
        "accuracy": {method: [short(column[method]) for column in columns] for method in SWEPT},
        "difference": [column["CoTo"]["difference"] for column in columns],
        "shut": {"examples": masks["examples"], **{method: changes(masks, method) for method in SWEPT}},
    }


def changes(masks: Numbers, method: str) -> Numbers:
    """What shutting each block changes in the mean accuracy, in points: ``alone`` over the seeds, ``fused`` over the pairs."""
    points = 100 / masks["examples"]
    alone = [of_seed(masks, method, seed) for seed in SEEDS]
    fused = [masks["fused"][f"{run_name(method, one)}+{other}"] for one, other in PAIRS]
    every = 2**BLOCKS - 1
    return {
        "alone": [points * fmean(own[every - 2**block] - own[every] for own in alone) for block in range(BLOCKS)],
        "fused": [points * fmean(own[1 + block] - own[0] for own in fused) for block in range(BLOCKS)],
    }


def pruning(evidence: Numbers) -> Numbers:
    """Accuracy with all adapters, and with those of each of the paper's patterns; and what each pattern keeps."""
    columns = {"all adapters": evidence["accuracy"]["scores"], **evidence["pruning"]["scores"]}
    places = list(product(range(BLOCKS), KINDS))
    sites = Sites(tuple(f"{block}.{kind}" for block, kind in places), tuple(str(block) for block, _ in places))
    masks = paper_patterns(sites)

    def pattern(name: str, column: Numbers) -> Numbers:
        kept = [place for place, keeps in zip(places, masks["all" if name == "all adapters" else name], strict=True) if keeps]
        return {
            "name": name,
            "blocks": sorted({block for block, _ in kept}),
            "kinds": [kind for kind in KINDS if any(own == kind for _, own in kept)],
            "accuracy": {method: short(column[method]) for method in SWEPT},
            "difference": column["CoTo"]["difference"],
        }

    return {
        "examples": evidence["about"]["test_images"],
        "patterns": [pattern(name, column) for name, column in columns.items()],
    }


def shapley(evidence: Numbers) -> Numbers:
    """Shapley value of each block, in points of accuracy, and how unevenly they are spread."""
    own = evidence["shapley"]
    return {
        "examples": own["images"],
        "values": {method: [short(block) for block in own["blocks"][method]] for method in SWEPT},
        "spread": {method: short(own["spread"][method]) for method in SWEPT},
    }


def stability(masks: Numbers) -> Numbers:
    """Right answers with every choice of open blocks: method -> seed -> 256 numbers; bit i of a place: block i is open."""
    right = {method: [of_seed(masks, method, seed) for seed in SEEDS] for method in SWEPT}
    return {"examples": masks["examples"], "right": right}


def of_seed(masks: Numbers, method: str, seed: int) -> list[int]:
    """Right answers of one adapter with every choice of open blocks."""
    name = run_name(method, seed)
    if name not in masks["right"]:
        raise ValueError(f"data/evidence/masks.json lacks {name}. Run: python data/make_masks.py")
    return masks["right"][name]


def claim(evidence: Numbers, topic: int, text: str) -> Numbers:
    """A claim of one part, with its difference and verdict on each leg."""
    for found in evidence["claims"]:
        if (found["topic"], found["text"]) == (topic, text):
            legs = {leg: {**own["parts"][""], "verdict": own["verdict"]} for leg, own in found["legs"].items()}
            return {"topic": topic, "text": text, "unit": found["unit"], "decimals": found["decimals"], "legs": legs}
    raise KeyError(f"evidence.json has no claim {text!r} in topic {topic}; it stands in CLAIMS of pages/playground_figures.py.")


def short(score: Numbers) -> Numbers:
    """Mean, standard deviation and number of a score, without its single values."""
    return {key: score[key] for key in ("mean", "sd", "n")}
