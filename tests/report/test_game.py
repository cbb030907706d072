"""Shapley values of a report: against their definition and the probe's."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from coto_lab import Run, Task, Variant, shapley
from coto_lab.probes.shapley import all_coalitions
from coto_lab.report.game import best_blocks, block_game, coalition_masks, exact_game, kinds_of
from coto_lab.report.remembering import Remembering


@pytest.fixture(scope="module")
def score(tiny_task: Task, runs: tuple[Run, Run]) -> Remembering:
    return Remembering(tiny_task, runs[0].adapter)


def test_the_blocks_game_is_that_of_the_probe(score: Remembering, tiny_task: Task, runs: tuple[Run, Run]) -> None:
    game = block_game(score, score.sites(score.adapter), exact=True, orders=0)
    for value in ("accuracy", "loss"):
        expected = shapley(tiny_task, runs[0], value=value)
        torch.testing.assert_close(game[value].values, expected.values, rtol=0, atol=1e-6)
        assert game[value].players == expected.players and game[value].method == "exact"
        assert game[value].v_full == pytest.approx(expected.v_full, abs=1e-6)
        assert game[value].v_empty == pytest.approx(expected.v_empty, abs=1e-6)


def test_an_estimate_says_its_error(score: Remembering) -> None:
    game = block_game(score, score.sites(score.adapter), exact=False, orders=40)
    exact = block_game(score, score.sites(score.adapter), exact=True, orders=0)
    found = game["loss"]
    assert found.method == "sampling" and (found.standard_error > 0).all()
    assert ((found.values - exact["loss"].values).abs() < 5 * found.standard_error).all()


def test_kinds_by_the_definition_and_the_error_over_examples(score: Remembering) -> None:
    """A player's value is what it adds to those before it, averaged over all orders, example by example."""
    kinds = kinds_of(score.sites(score.adapter))
    assert list(kinds) == ["attention.q_proj", "attention.v_proj"]
    found = exact_game(score, kinds, tuple(kinds))["loss"]
    names = list(kinds)
    of_orders = []
    for order in permutations(range(len(names))):
        added, open_before = {}, torch.zeros_like(kinds[names[0]])
        for player in order:
            after = open_before | kinds[names[player]]
            pair = score([Variant(score.adapter, open_before), Variant(score.adapter, after)]).values["loss"]
            added[player], open_before = pair[0] - pair[1], after
        of_orders.append(torch.stack([added[player] for player in range(len(names))]))
    of_examples = torch.stack(of_orders).mean(0)  # [players, N]
    torch.testing.assert_close(found.values, of_examples.mean(1), rtol=0, atol=1e-9)
    torch.testing.assert_close(found.standard_error, of_examples.std(1) / of_examples.shape[1] ** 0.5, rtol=0, atol=1e-9)


def test_coalitions_open_the_modules_of_their_players() -> None:
    players = torch.tensor([[True, False, True], [False, True, False]])
    assert coalition_masks(players).tolist() == [[False] * 3, [True, False, True], [False, True, False], [True] * 3]
    assert all_coalitions(3)[5].tolist() == [True, False, True]


@pytest.mark.parametrize(("every", "compared"), [(True, 6), (False, 7)])
def test_the_best_blocks_have_the_lowest_loss_on_their_half(score: Remembering, every: bool, compared: int) -> None:
    half = slice(None, None, 2)
    mask, count = best_blocks(score, 4, 2, half, every)
    assert int(mask.sum()) == 2 and count == compared
    pairs = [m for m in all_coalitions(4) if int(m.sum()) == 2]
    losses = [score([Variant(score.adapter, m)]).values["loss"][0, half].mean().item() for m in pairs]
    if every:
        assert mask.tolist() == pairs[losses.index(min(losses))].tolist()
    else:  # of three blocks, the one that costs least was left out first
        threes = [m for m in all_coalitions(4) if int(m.sum()) == 3]
        best = min(threes, key=lambda m: score([Variant(score.adapter, m)]).values["loss"][0, half].mean().item())
        assert (mask & ~best).sum() == 0


def test_all_blocks_need_no_search(score: Remembering) -> None:
    mask, compared = best_blocks(score, 4, 4, slice(None), every=False)
    assert mask.all() and compared == 0
