"""The board of a game, driven as a reader drives it."""

from __future__ import annotations

import pytest
import torch

from coto_lab.figures import game_figure
from coto_lab.widgets import GameBoard
from coto_lab.widgets.view import plain

GLOVES = torch.tensor([0.0, 0, 0, 6, 0, 6, 0, 6])
PLAYERS = ["left", "right 1", "right 2"]


@pytest.fixture
def board() -> GameBoard:
    return GameBoard({"gloves": GLOVES, "CoTo": 10 * GLOVES}, PLAYERS, "%")


def agrees(board: GameBoard, name: str, members: list[bool], sentence: str, shapley: bool = False) -> None:
    """Figure, switches, mask and sentence tell the same."""
    games = {"gloves": GLOVES, "CoTo": 10 * GLOVES}
    expected = game_figure(games, name, torch.tensor(members), PLAYERS, unit="%", shapley=shapley)
    for shown, wanted in zip(board.figure.data, expected.data, strict=True):
        assert list(shown.y) == list(wanted.y), shown.name
    assert board.mask.tolist() == [switch.value for switch in board.switches] == members
    assert plain(board.text.value) == sentence


def test_players_come_and_go(board: GameBoard) -> None:
    would = "of those who are out, right 1 and right 2 would each add +6.0"
    agrees(board, "gloves", [True, False, False], f"gloves: left earns 0.0%; {would}.")
    board.switches[1].value = True
    told = "gloves: left and right 1 earn 6.0%; of these, left and right 1 each add +6.0 to the others"
    agrees(board, "gloves", [True, True, False], f"{told}; of those who are out, right 2 would add +0.0.")
    assert [(switch.icon, switch.tooltip) for switch in board.switches][1:] == [
        ("check", "right 1 is in"),
        ("times", "right 2 is out"),
    ]
    board.everybody.click()
    agrees(board, "gloves", [True] * 3, "gloves: all 3 players earn 6.0%; of these, left adds most (+6.0) to the others.")
    board.nobody.click()
    told = "gloves: nobody earns 0.0%; of those who are out, all 3 players would each add +0.0."
    agrees(board, "gloves", [False] * 3, told)


def test_another_game_and_the_shapley_values(board: GameBoard) -> None:
    board.game.value = "CoTo"
    board.shapley.value = True
    would = "of those who are out, right 1 and right 2 would each add +60.0"
    agrees(board, "CoTo", [True, False, False], f"CoTo: left earns 0.0%; {would}.", shapley=True)
    board.shapley.value = False
    agrees(board, "CoTo", [True, False, False], f"CoTo: left earns 0.0%; {would}.")


def test_a_script_sets_the_mask(board: GameBoard) -> None:
    board.mask = torch.tensor([True, False, True])
    assert [switch.value for switch in board.switches] == [True, False, True]
    board.mask.fill_(False)  # a copy
    assert board.mask.tolist() == [True, False, True]


def test_the_choice_of_a_game_is_seen_where_there_are_several(board: GameBoard) -> None:
    one = GameBoard({"gloves": GLOVES}, PLAYERS)
    assert board.game in board.children and one.game not in one.children


def test_what_does_not_fit_is_refused(board: GameBoard) -> None:
    with pytest.raises(ValueError, match="games is empty"):
        GameBoard({}, PLAYERS)
    with pytest.raises(ValueError, match=r"games\['gloves'\] has shape \[8\]: 2 players have 4 coalitions"):
        GameBoard({"gloves": GLOVES}, PLAYERS[:2])
    for mask in (torch.ones(3), torch.ones(2, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"mask must be a BoolTensor \[3\]"):
            board.mask = mask
    assert board.mask.tolist() == [True, False, False]
