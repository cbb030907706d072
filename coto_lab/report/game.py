"""Which blocks and which kinds of module matter: Shapley values, exact over all coalitions, with the error of the examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from coto_lab.probes.shapley import ShapleyValues, all_coalitions, exact_shapley, shapley
from coto_lab.report.remembering import Remembering
from coto_lab.scoring.sites import Sites
from coto_lab.scoring.variant import Variant

Game = dict[str, ShapleyValues]  # "accuracy" and "loss"
VALUES = ("accuracy", "loss")


def coalition_masks(players: Bool[Tensor, "n modules"]) -> Bool[Tensor, "coalitions modules"]:
    """The modules that are open in each of the 2^n coalitions of players, of which each has some modules."""
    return (all_coalitions(len(players)).long() @ players.long()).bool()


def exact_game(score: Remembering, players: Mapping[str, Bool[Tensor, " modules"]], blocks: tuple[str, ...] | None) -> Game:
    """Exact Shapley values of players who share the modules of an adapter among them, as accuracy and as loss.

    The game is played on the test examples of ``score``. Each of them is a game of its own, and the values are the means over
    these games; so the standard error is that of a mean over examples.

    Args:
        score: scores the adapter's coalitions; it remembers them.
        players: name -> the player's modules.
        blocks: as in `ShapleyValues`.

    Source: arXiv:2506.05713, Shapley values of adapters.
    """
    masks = coalition_masks(torch.stack(list(players.values())))
    order = masks.long().unique(dim=0, return_inverse=True)[1].argsort()  # neighbours agree in their lowest blocks
    scores = score([Variant(score.adapter, mask) for mask in masks[order]])
    back = order.argsort()
    worths = {"accuracy": scores.values["correct"][back], "loss": -scores.values["loss"][back]}
    return {value: _values(tuple(players), value, worths[value], blocks) for value in VALUES}


def _values(
    names: tuple[str, ...], value: str, worths: Float[Tensor, "coalitions N"], blocks: tuple[str, ...] | None
) -> ShapleyValues:
    of_examples = torch.stack([exact_shapley(worth) for worth in worths.T])  # [N, n]
    n = len(of_examples)
    error = of_examples.std(0) / math.sqrt(n) if n > 1 else None
    origin = worths[0].mean().item() if value == "loss" else 0.0
    empty, full = worths[0].mean().item() - origin, worths[-1].mean().item() - origin
    return ShapleyValues(names, of_examples.mean(0), value, "exact", empty, full, error, blocks)


def block_game(score: Remembering, sites: Sites, exact: bool, orders: int) -> Game:
    """The game of the blocks: exact, or estimated from random orders, whose error is over the orders."""
    if exact:
        owner = torch.tensor([sites.block_names.index(block) for block in sites.blocks])
        return exact_game(score, {block: owner == i for i, block in enumerate(sites.block_names)}, None)
    estimate = {
        value: shapley(score.task, score.adapter, value=value, method="sampling", samples=orders, evaluator=score)
        for value in VALUES
    }
    return {value: replace(found, players=sites.block_names) for value, found in estimate.items()}


def kinds_of(sites: Sites) -> dict[str, Bool[Tensor, " modules"]]:
    """The kinds of module that an adapter is on, such as ``attention.q_proj``: name within the block -> its modules."""
    within = [
        name.removeprefix(f"{block}.") if block != name else name.rsplit(".", 1)[-1]
        for name, block in zip(sites.names, sites.blocks, strict=True)
    ]
    return {kind: torch.tensor([other == kind for other in within]) for kind in dict.fromkeys(within)}


def best_blocks(score: Remembering, n: int, keep: int, half: slice, every: bool) -> tuple[Bool[Tensor, " n"], int]:
    """The ``keep`` of n blocks with which the adapter has the lowest mean loss, and how many choices were compared.

    Args:
        score: scores the adapter.
        n: blocks.
        keep: how many to choose.
        half: the places of the test examples that decide.
        every: whether all choices are compared; otherwise the block whose loss costs least is left out, one after another.
    """

    def best(masks: Bool[Tensor, "V n"]) -> int:
        scores = score([Variant(score.adapter, mask) for mask in masks])
        return int(scores.values["loss"][:, half].mean(1).argmin())

    if every:
        masks = all_coalitions(n)
        masks = masks[masks.sum(1) == keep]
        return masks[best(masks)], len(masks)
    chosen, compared = torch.ones(n, dtype=torch.bool), 0
    while (left := int(chosen.sum())) > keep:
        masks = chosen.repeat(left, 1)
        masks[torch.arange(left), chosen.nonzero()[:, 0]] = False
        chosen, compared = masks[best(masks)], compared + left
    return chosen, compared
