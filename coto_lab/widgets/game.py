"""A board for a cooperative game: the reader chooses a coalition and sees the marginal contribution of each player."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import torch
from torch import Tensor

from coto_lab.figures.game import coalition, game_figure
from coto_lab.widgets.view import View


class GameBoard(View):
    """Switch players in and out, and see what the coalition earns and the marginal contribution of every player.

    Args:
        games: name -> v of all coalitions, ``[2^n]``; bit i of an index says whether player i is in.
        players: names of the n players.
        unit: unit of v, such as ``"%"``.

    Attributes:
        game: the choice of the game shown.
        switches: one toggle per player.
        nobody, everybody: buttons that empty the coalition and fill it.
        shapley: toggle that shows the Shapley values.

    Raises:
        ValueError: there are no games, or a game does not fit the number of players.
    """

    def __init__(self, games: Mapping[str, Tensor], players: Sequence[str], unit: str = ""):
        if not games:
            raise ValueError("games is empty: give at least one game.")
        for name, worths in games.items():
            if worths.shape != (2 ** len(players),):
                shape = list(worths.shape)
                raise ValueError(
                    f"games[{name!r}] has shape {shape}: {len(players)} players have {2 ** len(players)} coalitions."
                )
        self._games, self._players, self._unit = dict(games), list(players), unit
        self._mask = torch.arange(len(players)) == 0
        self.game = widgets.ToggleButtons(options=list(games), description="game")
        self.switches = [widgets.ToggleButton(description=player, layout={"width": "auto"}) for player in players]
        self.nobody, self.everybody = (
            widgets.Button(description=word, layout={"width": "auto"}) for word in ("nobody", "everybody")
        )
        self.shapley = widgets.ToggleButton(description="show Shapley values", icon="eye", layout={"width": "auto"})
        rows = [[*self.switches], [self.nobody, self.everybody, self.shapley]]
        controls = [widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows]
        super().__init__(self._draw(), [self.game, *controls] if len(games) > 1 else controls, "coto-game")
        for player, switch in enumerate(self.switches):
            switch.observe(lambda change, player=player: self._switched(player, change["new"]), "value")
        self.nobody.on_click(lambda _: self._set(torch.zeros_like(self._mask)))
        self.everybody.on_click(lambda _: self._set(torch.ones_like(self._mask)))
        for control in (self.game, self.shapley):
            control.observe(lambda _: self._show(), "value")
        self._show()

    @property
    def mask(self) -> Tensor:
        """The players that are in, ``BoolTensor [n]``. Setting the mask updates the view.

        Raises:
            ValueError: the new mask has another type or length.
        """
        return self._mask.clone()

    @mask.setter
    def mask(self, mask: Tensor) -> None:
        if mask.dtype != torch.bool or mask.shape != self._mask.shape:
            raise ValueError(f"mask must be a BoolTensor [{len(self._mask)}], got {mask.dtype} {list(mask.shape)}.")
        self._set(mask.clone())

    def _switched(self, player: int, is_in: bool) -> None:
        if is_in != bool(self._mask[player]):  # otherwise `_show` has set the switch
            self._set(self._mask.index_fill(0, torch.tensor(player), is_in))

    def _set(self, mask: Tensor) -> None:
        self._mask = mask
        self._show()

    def _show(self) -> None:
        for switch, is_in in zip(self.switches, self._mask.tolist(), strict=True):
            switch.value, switch.icon, switch.button_style = is_in, *(("check", "primary") if is_in else ("times", ""))
            switch.tooltip = f"{switch.description} is {'in' if is_in else 'out'}"  # for screen readers
        self._draw()
        self.say(self._sentence())

    def _draw(self) -> Any:
        settings = {"unit": self._unit, "shapley": self.shapley.value, "figure": getattr(self, "figure", None)}
        return game_figure(self._games, self.game.value, self._mask, self._players, **settings)

    def _sentence(self) -> str:
        earned, adds = coalition(self._games[self.game.value], self._mask)
        n_in = int(self._mask.sum())
        who = self._named(self._mask) or "nobody"
        told = [f"{html.escape(self.game.value)}: {who} earn{'s' * (n_in < 2)} <b>{earned:.1f}{self._unit}</b>"]
        if n_in > 1:
            told.append(f"of these, {self._most(adds, self._mask, 'adds', 'each add')} to the others")
        if n_in < len(self._mask):
            told.append(f"of those who are out, {self._most(adds, ~self._mask, 'would add', 'would each add')}")
        return "; ".join(told) + "."

    def _most(self, adds: Tensor, among: Tensor, one: str, several: str) -> str:
        """The player of ``among`` that adds most, and how much; several players, or all, can be equal."""
        most = adds[among].max()
        who = among & ((adds - most).abs() < 1e-9)
        words = one if who.sum() == 1 else several
        return (
            f"{self._named(who)} {words} {most:+.1f}"
            if torch.equal(who, among)
            else f"{self._named(who)} {words} most ({most:+.1f})"
        )

    def _named(self, mask: Tensor) -> str:
        names = [html.escape(player) for player, is_in in zip(self._players, mask.tolist(), strict=True) if is_in]
        if len(names) == len(self._players):
            return f"all {len(names)} players"
        return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
