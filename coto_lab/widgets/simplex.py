"""Sliders over the triangle between three runs, to see how well their mixtures do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coto_lab.figures.simplex import simplex_explorer_figure
from coto_lab.ground.lists import check_dict
from coto_lab.probes.flips import Flips
from coto_lab.probes.simplex import Simplex, barycentric_grid, corner_names
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.sources import Source
from coto_lab.tasks import Task
from coto_lab.widgets.field import NumberField
from coto_lab.widgets.mixtures import MixtureView

_PARTS = 6  # with sixths, halves, thirds and 1:1:1 are among the mixtures
_GRID = barycentric_grid(_PARTS)


class SimplexExplorer(MixtureView):
    """Mix three runs of each method, and see accuracy and loss of every mixture on a triangle, and the examples that flip.

    The weights are sixths. Two sliders set the weights of the first and the second run, and the third run gets the rest. If
    the two weights add up to more than six sixths, the other slider is reduced, and a line says so.

    Args:
        task: the task that the runs were trained on.
        partners: method name -> second and third run: runs, adapters or folders.
        runs: method name -> first run; with None, the view waits for `take`.
        images: the largest number of test examples that are scored; they are evenly spaced over the test set.

    Attributes:
        parts: a `NumberField` of sixths for each of the three runs; the third one is computed from the others.
        how, method, message, progress, scores: as in `MixtureView`.

    Raises:
        TypeError: ``task`` lacks a part of the protocol, or something given as a run is not a run, adapter or folder.
        ValueError: there are no partners, or not two for each method; a partner is of another task or base; ``images`` is
            below 1; or `take` raises it.
    """

    def __init__(
        self,
        task: Task,
        partners: Mapping[str, Sequence[Source]],
        runs: Mapping[str, Source] | None = None,
        images: int = 410,
    ):
        check_dict("partners", partners, Sequence, "give a dict of two runs each, such as {'CoTo': [second, third]}.")
        for name, others in partners.items():
            if len(others) != 2:
                raise ValueError(f"partners[{name!r}] has {len(others)} runs: a triangle needs 2 besides the first run.")
        self.parts = [
            NumberField(f"{which} run", _PARTS // 3, 0, _PARTS, 1, unit="sixths", whole=True, label_width=7)
            for which in ("first", "second", "third")
        ]
        self._others, self._firsts = {name: list(others) for name, others in partners.items()}, dict(runs or {})
        super().__init__(task, partners, _GRID, self.parts, "coto-simplex", images)
        for slider in self.parts[:2]:
            slider.observe(self._moved, "value")
        if runs is not None:
            self.take(runs)

    def take(self, runs: Mapping[str, Source]) -> None:
        """As in `MixtureView`; the corners are named after these runs."""
        before, self._firsts = self._firsts, dict(runs)
        try:
            super().take(runs)
        except BaseException:
            self._firsts = before
            raise

    def _moved(self, change: dict[str, Any]) -> None:
        first, second, third = self.parts
        if first.value + second.value > _PARTS:
            other = second if change["owner"] is first else first
            other.value = _PARTS - change["new"]  # this change calls `_moved` again, which draws
            self.message.say(f"The three shares make {_PARTS} sixths, so the {other.label} now gets {other.value}.")
            return
        third.value = _PARTS - first.value - second.value
        self.show()

    def _enable(self, enabled: bool) -> None:
        super()._enable(enabled)
        self.parts[2].disabled = True  # the third share is computed from the others

    def _chosen(self, scores: dict[str, Scores]) -> tuple[dict[str, Scores], int]:
        first, second, _ = self.parts
        left = _PARTS - first.value  # on the grid the first weight falls from 1, and the second from the remaining share
        return scores, left * (left + 1) // 2 + left - second.value

    def _place(self) -> str:
        return "At {} : {} : {} sixths of the three runs".format(*(slider.value for slider in self.parts))

    def _figure(self, scores: Mapping[str, Scores], place: int, changed: Flips | None) -> Any:
        records = {name: self._record(name, scores[name]) if name in scores else None for name in self._partners}
        figure = getattr(self, "figure", None)
        return simplex_explorer_figure(records, place, changed, self._scored.examples, self.task.classes, figure)

    def _record(self, name: str, scores: Scores) -> Simplex:
        corners = corner_names([self._firsts[name], *self._others[name]])
        return Simplex(_GRID, scores.accuracy, scores.loss, self.how.value, corners)
